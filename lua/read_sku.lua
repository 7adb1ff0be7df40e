--[[
read_sku: skus with all their levels, in the order of writes; what is due of them is back on sale first.

KEYS[1]  meta         hash   epoch, seq, digest, checkpoint, clock, poison, ask_until, totals, horizon, lease
KEYS[2]  log          stream one entry per call; its name tells the names of all other keys of this generation
KEYS[3]  due          zset   per sku with a hold its earliest deadline
KEYS[4..] skus       hash   the levels of each
ARGV[1]  nonce        text   echoed, so that a reply can be told from another's
ARGV[2]  epoch        int    the caller's fencing number
ARGV[3]  late_ms      int    by Redis' clock: a call that runs later changes nothing; 0 = none
ARGV[4]  backlog_max  int    unflushed events from which on nothing new is taken
ARGV[5..] names      text   shop/sku

Returns  {nonce, status, now_ms, checkpoint, …}, the first that applies
  CLOSED      wrong epoch, or meta or log gone: nothing read further
  POISONED    an earlier call broke off while writing: nothing read further
  LATE        the caller's time is over: nothing changed
  LAPSED      no gateway has found the durable store for the lease: nothing changed
  NOT_LOADED  {name...} of what is not in Redis: load it and repeat; nothing changed
  MORE_DUE    more holds were due than one call takes back: those were taken back; repeat
  SKUS        {sku text...} in the order asked for
Writes   what was due; nothing else.
Cost     O(skus * their levels)
Flags    allow-oom
]]
local function touch(operation)
  local sku = sku_of(operation.name)
  if sku then collect(sku) end
end

local operations = {}
for i = 5, #ARGV do
  operations[i - 4] = { touch = touch, apply = function(operation) return tell_sku(skus[operation.name]) end, name = ARGV[i] }
end
local results, ending = run(operations)
return ending or reply('SKUS', results)
