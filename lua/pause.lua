--[[
pause: take a sku off sale, or put it back.

KEYS[1]  meta         hash   epoch, seq, digest, checkpoint, clock, poison, ask_until, totals, horizon, lease
KEYS[2]  log          stream one entry per call; its name tells the names of all other keys of this generation
KEYS[3]  due          zset   per sku with a hold its earliest deadline
KEYS[4]  sku          hash   its levels, their sources, its pause
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
  NO_LEVEL      the sku has no level
  UNCHANGED     {sku text}: it was so already
  BACKLOG       too much is unflushed: nothing changed
  APPLIED       {sku text}

Writes   the sku's head, one entry; on APPLIED only (and what was due).
Cost     O(levels of the sku)
Flags    none
]]
return run_one(pause_operation(ARGV[5]))
