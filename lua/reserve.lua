--[[
reserve: hold units of one or more skus, all or none unless partial is allowed.

KEYS[1]  meta         hash   epoch, seq, digest, checkpoint, clock, poison, ask_until, totals, horizon, lease
KEYS[2]  log          stream one entry per call; its name tells the names of all other keys of this generation
KEYS[3]  due          zset   per sku with a hold its earliest deadline
KEYS[4]  reservation  string see lua/README.md; named so that a cluster can route and check it
KEYS[5]  sku          hash   of the first line, its levels; those of further lines follow
ARGV[1]  nonce        text   echoed, so that a reply can be told from another's
ARGV[2]  epoch        int    the caller's fencing number
ARGV[3]  late_ms      int    by Redis' clock: a call that runs later changes nothing; 0 = none
ARGV[4]  backlog_max  int    unflushed events from which on nothing new is taken
ARGV[5]  operation    text   fields and lines as lua/_lib/reserve.lua tells

Returns  {nonce, status, now_ms, checkpoint, …}, the first that applies
  CLOSED      wrong epoch, or meta or log gone: nothing read further
  POISONED    an earlier call broke off while writing: nothing read further
  LATE        the caller's time is over: nothing changed
  LAPSED      no gateway has found the durable store for the lease: nothing changed
  NOT_LOADED  {name...} of what is not in Redis: load it and repeat; nothing changed
  MORE_DUE    more holds were due than one call takes back: those were taken back; repeat
  REUSED        the key was used with another body: nothing changed
  REPLAYED      {id, text, ''}: the key's first reservation as it is now
  BACKLOG       too much is unflushed: nothing changed
  UNKNOWN_SKU   {sku...} without any level: nothing changed
  OUT_OF_STOCK  {shortages}: nothing changed
  RESERVED      {id, text, shortages}

Writes   reservation, levels, due indexes, request record, one entry; on RESERVED only (and what was due).
Cost     O(lines * log holds of the sku)
Flags    none
]]
return run_one(reserve_operation(ARGV[5]))
