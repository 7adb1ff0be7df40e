--[[
group: reserves of several callers that came at the same moment, each judged as by its own call, in the order given.

KEYS[1]  meta         hash   epoch, seq, digest, checkpoint, clock, poison, ask_until, totals, horizon, lease
KEYS[2]  log          stream one entry per call; its name tells the names of all other keys of this generation
KEYS[3]  due          zset   per sku with a hold its earliest deadline
ARGV[1]  nonce        text   echoed, so that a reply can be told from another's
ARGV[2]  epoch        int    the caller's fencing number
ARGV[3]  late_ms      int    by Redis' clock: a call that runs later changes nothing; 0 = none
ARGV[4]  backlog_max  int    unflushed events from which on nothing new is taken
ARGV[5..] operations  text   as in reserve

Returns  {nonce, status, now_ms, checkpoint, …}, the first that applies
  CLOSED      wrong epoch, or meta or log gone: nothing read further
  POISONED    an earlier call broke off while writing: nothing read further
  LATE        the callers' time is over: nothing changed
  LAPSED      no gateway has found the durable store for the lease: nothing changed
  GROUP       one array per operation: what reserve answers from the status on, also NOT_LOADED and MORE_DUE
Writes   what the operations write, with one entry for all.
Cost     the sum of theirs
Flags    none
]]
local reserves = {}
for i = 5, #ARGV do reserves[i - 4] = reserve_operation(ARGV[i]) end
local results, ending = run_independent(reserves)
return ending or reply('GROUP', results)
