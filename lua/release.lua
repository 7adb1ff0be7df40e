--[[
release: give the units of a held or confirmed reservation back.

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
  BACKLOG       even the spare of the backlog is used up: nothing changed
  RELEASED      {id, text}: now, or it had ended before

Writes   reservation, levels, due indexes, one entry; on the first RELEASED only (and an expiry).
Cost     O(lines * log holds of the sku)
Flags    allow-oom
]]
return run_one(release_operation(ARGV[5]))
