--[[
batch: several operations as one unit of work, in the order given, each seeing the earlier ones; one refused does not stop the rest.
A caller that sends a call again when its reply was lost names each reservation once: a step is recognised by the state it led to.

KEYS[1]  meta         hash   epoch, seq, digest, checkpoint, clock, poison, ask_until, totals, horizon, lease
KEYS[2]  log          stream one entry per call; its name tells the names of all other keys of this generation
KEYS[3]  due          zset   per sku with a hold its earliest deadline
ARGV[1]  nonce        text   echoed, so that a reply can be told from another's
ARGV[2]  epoch        int    the caller's fencing number
ARGV[3]  late_ms      int    by Redis' clock: a call that runs later changes nothing; 0 = none
ARGV[4]  backlog_max  int    unflushed events from which on nothing new is taken
ARGV[5..] operations  text   as in the scripts of their names

Returns  {nonce, status, now_ms, checkpoint, …}, the first that applies
  CLOSED      wrong epoch, or meta or log gone: nothing read further
  POISONED    an earlier call broke off while writing: nothing read further
  LATE        the caller's time is over: nothing changed
  LAPSED      no gateway has found the durable store for the lease: nothing changed
  NOT_LOADED  {name...} of what is not in Redis: load it and repeat; nothing changed
  MORE_DUE    more holds were due than one call takes back: those were taken back; repeat
  BATCH       one array per operation: what its own script answers from the status on
Writes   what the operations write, with one entry for all.
Cost     the sum of theirs
Flags    none
]]
local operation_of = {
  reserve = reserve_operation, extend = extend_operation, confirm = confirm_operation, fulfil = fulfil_operation,
  release = release_operation, adjust = adjust_operation, put = put_operation,
}
local all = {}
for i = 5, #ARGV do all[i - 4] = operation_of[string.match(ARGV[i], '^%a+')](ARGV[i]) end
local results, ending = run(all)
return ending or reply('BATCH', results)
