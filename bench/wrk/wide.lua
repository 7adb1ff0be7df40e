--[[
wide: reserves of many skus, another one each time.

Arguments after `--`: method, path, body, skus. In the body `@@` stands for the number of the sku. The requests are built before
the clock starts; the walk by a prime is that of bench/closed_loop.py. Prints one line: RESULT and a JSON object, see bench/load.py.
]]

local STRIDE = 7919

function init(args)
  local headers = { ["Content-Type"] = "application/json" }
  local skus = tonumber(args[4])
  requests, at = {}, 0
  for i = 1, skus do
    local number = string.format("%d", i * STRIDE % skus)
    requests[i] = wrk.format(args[1], args[2], headers, (args[3]:gsub("@@", number)))
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"answers":%d,"refusals":%d,"lives":0,"lost":%d,"seconds":%.6f,"p50_ms":%.3f,"p99_ms":%.3f}\n',
    summary.requests, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
