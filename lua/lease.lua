--[[
lease: the shard may work on for a while. The caller has just found its epoch open in the durable store.

KEYS[1]  meta         hash   epoch, seq, digest, checkpoint, clock, poison, ask_until, totals, horizon, lease
KEYS[2]  log          stream one entry per call; its name tells the names of all other keys of this generation
KEYS[3]  due          zset   per sku with a hold its earliest deadline
ARGV[1]  nonce        text   echoed, so that a reply can be told from another's
ARGV[2]  epoch        int    the caller's fencing number
ARGV[3]  late_ms      int    by Redis' clock: a call that runs later changes nothing; 0 = none
ARGV[4]  backlog_max  int    unflushed events from which on nothing new is taken
ARGV[5]  lease_ms     int    from now; 0 = without an end

Returns  {nonce, status, now_ms, checkpoint, …}, the first that applies
  CLOSED    wrong epoch, or meta gone: nothing read further
  POISONED  an earlier call broke off while writing: nothing read further
  LATE      the caller's time is over: nothing changed
  LEASED    it may work on
Writes   meta's lease.
Cost     O(1)
Flags    allow-oom
]]
local LEASE_MS = tonumber(ARGV[5])
local refusal = read_meta() or is_late() and 'LATE' or nil
if refusal then return reply(refusal) end
if LEASE_MS == 0 then
  call('HDEL', META, 'lease')
else
  call('HSET', META, 'lease', format('%d', time_ms + LEASE_MS))
end
return reply('LEASED')
