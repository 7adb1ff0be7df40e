--[[
ticket: the right to load one item from the durable store, for a moment. It is taken before the durable row is read.

KEYS[1]  meta         hash   epoch, seq, digest, checkpoint, clock, poison, ask_until, totals, horizon, lease
KEYS[2]  log          stream one entry per call; its name tells the names of all other keys of this generation
KEYS[3]  due          zset   per sku with a hold its earliest deadline
KEYS[4]  ticket       string named so that a cluster can route and check it
ARGV[1]  nonce        text   echoed, so that a reply can be told from another's
ARGV[2]  epoch        int    the caller's fencing number
ARGV[3]  late_ms      int    by Redis' clock: a call that runs later changes nothing; 0 = none
ARGV[4]  backlog_max  int    unflushed events from which on nothing new is taken
ARGV[5]  name         text   of the item: "s:" shop/sku, "r:" random part, "q:" record
ARGV[6]  token        text   the caller's, which no other caller has
ARGV[7]  ttl_ms       int    the ticket's life

Returns  {nonce, status, now_ms, checkpoint, …}, the first that applies
  CLOSED      wrong epoch, or meta gone: nothing read further
  POISONED    an earlier call broke off while writing: nothing read further
  LATE        the caller's time is over: nothing changed
  LAPSED      no gateway has found the durable store for the lease: nothing changed
  HELD        another load of this item is under way: nothing changed
  TAKEN       the ticket is the caller's, now or before
Writes   the ticket; on TAKEN only.
Cost     O(1)
Flags    allow-oom
]]
local NAME, TOKEN, TTL_MS = ARGV[5], ARGV[6], ARGV[7]
local refusal = enter()
if refusal then return reply(refusal) end
local key = BASE .. 't:' .. NAME
if call('SET', key, TOKEN, 'NX', 'PX', TTL_MS) or call('GET', key) == TOKEN then return reply('TAKEN') end
return reply('HELD')
