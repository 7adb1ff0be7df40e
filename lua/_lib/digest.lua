-- The chain: SHA-1 over the previous digest and the payload; where the server has none (fakeredis), two polynomials below 2^26.

local function chained(previous, payload)
  if redis.sha1hex then return redis.sha1hex(previous .. payload) end
  local first, second = 1, 1
  local text = previous .. payload
  for i = 1, #text do
    local byte = string.byte(text, i)
    first = (first * 8388593 + byte) % 67108859
    second = (second * 8388587 + byte) % 67108837
  end
  return string.format('x%07x%07x', first, second)
end
