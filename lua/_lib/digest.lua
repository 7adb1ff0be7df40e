-- The chain: SHA-1 over the previous digest and the payload.

local function chained(previous, payload)
  return redis.sha1hex(previous .. payload)
end
