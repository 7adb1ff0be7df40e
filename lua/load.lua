--[[
load: what was read from the durable store is in Redis, unless it was overtaken.

KEYS[1]  meta         hash   epoch
KEYS[2]  item         hash or string: a sku, a reservation or a request record
KEYS[3]  ticket       string taken before the durable row was read; gone = the load came too late
ARGV[1]  nonce        text   echoed, so that a reply can be told from another's
ARGV[2]  epoch        int    the caller's fencing number
ARGV[3]  token        text   what the caller's ticket holds
ARGV[4]  ttl_ms       int    the item's life if nothing touches it; 0 = none
ARGV[5..] content     text   one text for a string; field, value, … for a hash

Returns  {nonce, status}, the first that applies
  CLOSED     wrong epoch: nothing read further
  OVERTAKEN  the ticket ran out or is another's: read the durable store again
  PRESENT    it is in Redis already
  LOADED     it is in Redis now
Writes   the item, and drops the ticket; on LOADED only.
Cost     O(content)
Flags    allow-oom
]]
local NONCE = ARGV[1]
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[2] then return { NONCE, 'CLOSED' } end
if redis.call('GET', KEYS[3]) ~= ARGV[3] then return { NONCE, 'OVERTAKEN' } end
if redis.call('EXISTS', KEYS[2]) == 1 then return { NONCE, 'PRESENT' } end
if #ARGV == 5 then
  redis.call('SET', KEYS[2], ARGV[5])
else
  for i = 5, #ARGV, 1000 do call('HSET', KEYS[2], unpack(ARGV, i, math.min(i + 999, #ARGV))) end
end
if ARGV[4] ~= '0' then redis.call('PEXPIRE', KEYS[2], ARGV[4]) end
redis.call('DEL', KEYS[3])
return { NONCE, 'LOADED' }
