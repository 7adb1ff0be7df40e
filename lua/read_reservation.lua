--[[
read_reservation: a reservation as it is now; one past its deadline is expired first.

KEYS[1]  meta         hash   epoch, seq, digest, checkpoint, clock, poison, ask_until, totals, horizon, lease
KEYS[2]  log          stream one entry per call; its name tells the names of all other keys of this generation
KEYS[3]  due          zset   per sku with a hold its earliest deadline
KEYS[4]  reservation  string see lua/README.md; named so that a cluster can route and check it
ARGV[1]  nonce        text   echoed, so that a reply can be told from another's
ARGV[2]  epoch        int    the caller's fencing number
ARGV[3]  late_ms      int    by Redis' clock: a call that runs later changes nothing; 0 = none
ARGV[4]  backlog_max  int    unflushed events from which on nothing new is taken
ARGV[5]  id           text   the random part

Returns  {nonce, status, now_ms, checkpoint, …}, the first that applies
  CLOSED      wrong epoch, or meta or log gone: nothing read further
  POISONED    an earlier call broke off while writing: nothing read further
  LATE        the caller's time is over: nothing changed
  LAPSED      no gateway has found the durable store for the lease: nothing changed
  NOT_LOADED  {name...} of what is not in Redis: load it and repeat; nothing changed
  MORE_DUE    more holds were due than one call takes back: those were taken back; repeat
  FOUND       {id, text}
Writes   its expiry, if it was due; nothing else.
Cost     O(lines)
Flags    allow-oom
]]
local function apply(operation)
  return { 'FOUND', operation.id, reservations[operation.id].text }
end

return run_one({ touch = touch_reading, apply = apply, id = ARGV[5] })
