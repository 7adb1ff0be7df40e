--[[
life: whole lives of reservations. Each is reserved, confirmed and fulfilled, by whichever connection is free next.

Arguments after `--`: method, path and body of the reserve. An answer says by its state which step its reservation needs
next; the nearest to its end goes first. No step names an `ack`: each has its default. Prints one line: RESULT and a JSON
object, see bench/load.py.
]]

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  local headers = { ["Content-Type"] = "application/json" }
  reserve = wrk.format(args[1], args[2], headers, args[3])
  to_confirm, to_fulfil = {}, {}
  lives = 0
end

function request()
  local id = table.remove(to_fulfil)
  if id then
    return wrk.format("POST", "/v1/reservations/" .. id .. "/fulfil")
  end
  id = table.remove(to_confirm)
  if id then
    return wrk.format("POST", "/v1/reservations/" .. id .. "/confirm")
  end
  return reserve
end

function response(status, headers, body)
  local state = status < 300 and body:match('"state":%s*"(%a+)"')
  if state == "held" then
    table.insert(to_confirm, body:match('"id":%s*"([%w_-]+)"'))
  elseif state == "confirmed" then
    table.insert(to_fulfil, body:match('"id":%s*"([%w_-]+)"'))
  elseif state == "fulfilled" then
    lives = lives + 1
  end
end

function done(summary, latency, requests)
  local errors, ended = summary.errors, 0
  for _, thread in ipairs(threads) do
    ended = ended + thread:get("lives")
  end
  io.write(string.format(
    'RESULT {"answers":%d,"refusals":%d,"lives":%d,"lost":%d,"seconds":%.6f,"p50_ms":%.3f,"p99_ms":%.3f}\n',
    summary.requests, errors.status, ended, errors.connect + errors.read + errors.write + errors.timeout,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
