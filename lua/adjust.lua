--[[
adjust: move on_hand by a difference, once per key.

KEYS[1]  meta         hash   epoch, seq, digest, checkpoint, clock, poison, ask_until, totals, horizon, lease
KEYS[2]  log          stream one entry per call; its name tells the names of all other keys of this generation
KEYS[3]  due          zset   per sku with a hold its earliest deadline
KEYS[4]  sku          hash   its levels, their sources, its pause
KEYS[5]  request      string the idempotency record
ARGV[1]  nonce        text   echoed, so that a reply can be told from another's
ARGV[2]  epoch        int    the caller's fencing number
ARGV[3]  late_ms      int    by Redis' clock: a call that runs later changes nothing; 0 = none
ARGV[4]  backlog_max  int    unflushed events from which on nothing new is taken
ARGV[5]  operation    text   fields and lines as lua/_lib/count.lua tells

Returns  {nonce, status, now_ms, checkpoint, …}, the first that applies
  CLOSED      wrong epoch, or meta or log gone: nothing read further
  POISONED    an earlier call broke off while writing: nothing read further
  LATE        the caller's time is over: nothing changed
  LAPSED      no gateway has found the durable store for the lease: nothing changed
  NOT_LOADED  {name...} of what is not in Redis: load it and repeat; nothing changed
  MORE_DUE    more holds were due than one call takes back: those were taken back; repeat
  REUSED        the key was used with another body: nothing changed
  REPLAYED      {sku text}: as it is now
  NO_LEVEL      the sku has none at this location
  CONFLICT      {version}: not the one the caller saw
  INSUFFICIENT  {on_hand}: it would fall below zero
  TOO_LARGE     {on_hand}: it would pass 10^9
  BACKLOG       too much is unflushed: nothing changed
  ADJUSTED      {sku text}

Writes   level, request record, one entry; on ADJUSTED only (and what was due).
Cost     O(levels of the sku)
Flags    none
]]
return run_one(adjust_operation(ARGV[5]))
