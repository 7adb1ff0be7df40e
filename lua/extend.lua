--[[
extend: move the deadline of a live hold, in its tier or into another.

KEYS[1]  meta         hash   epoch, seq, digest, checkpoint, clock, poison, ask_until, totals, horizon, lease
KEYS[2]  log          stream one entry per call; its name tells the names of all other keys of this generation
KEYS[3]  due          zset   per sku with a hold its earliest deadline
KEYS[4]  reservation  string see lua/README.md; named so that a cluster can route and check it
ARGV[1]  nonce        text   echoed, so that a reply can be told from another's
ARGV[2]  epoch        int    the caller's fencing number
ARGV[3]  late_ms      int    by Redis' clock: a call that runs later changes nothing; 0 = none
ARGV[4]  backlog_max  int    unflushed events from which on nothing new is taken
ARGV[5]  operation    text   fields and lines as lua/_lib/change.lua tells

Returns  {nonce, status, now_ms, checkpoint, …}, the first that applies
  CLOSED      wrong epoch, or meta or log gone: nothing read further
  POISONED    an earlier call broke off while writing: nothing read further
  LATE        the caller's time is over: nothing changed
  LAPSED      no gateway has found the durable store for the lease: nothing changed
  NOT_LOADED  {name...} of what is not in Redis: load it and repeat; nothing changed
  MORE_DUE    more holds were due than one call takes back: those were taken back; repeat
  NOT_FOUND     another shop's, or another birth: nothing changed
  STATE         {id, text}: its state does not allow this
  BACKLOG       too much is unflushed: nothing changed
  NO_TIER       {tier} is not among those given
  TTL_TOO_LONG  {tier, ttl_ms_max}
  EXTENSION_LIMIT {id, latest_ms}: it would outlive its tier's lifetime
  EXTENDED      {id, text}

Writes   reservation, due indexes, one entry; on EXTENDED only (and an expiry).
Cost     O(lines * log holds of the sku)
Flags    none
]]
return run_one(extend_operation(ARGV[5]))
