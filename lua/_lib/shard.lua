-- The shard: what every script reads first, the clock, and what one call has gathered so far.


local BACKLOG_SPARE = 100000 -- events that confirm, release and expire may still write when the backlog is full
local HORIZON_MAX = '9007199254740991' -- ms; the clock follows TIME wherever it goes
local DUE_MAX = 64 -- holds one call takes back; measured below a millisecond
local DUE_LINES_MAX = 500 -- and their lines; 8 ms on as many skus. A hold with more comes back whole, and alone: 16 ms for a thousand

local call, format, concat -- set by `start_call`: while the library is being loaded, no function of the server can be reached

-- What one call knows. The library stays loaded between calls, so every call begins with `start_call`, which sets all of it anew.
local META, LOG, DUE, BASE -- keys, and what every other key of this generation begins with
local NONCE, EPOCH, LATE_MS, BACKLOG_MAX -- of the caller
local time_ms, shift -- the server's TIME, without its jumps; what they come to
local now, now_text, seq, seq_text, checkpoint, digest, ask_until_ms
local changed -- epoch, seq and time of the event that is being told, as levels keep them
local events -- arrays of lines, one per event of this call
local totals -- of all levels of the shard, as meta has them: see totals.lua
local on_hand_moved, held_moved, committed_moved, deducted_moved -- by this call, over all its levels
local missing, is_missing -- names of what must be loaded before this call can be judged
local skus, reservations, requests -- what this call has read, by name
local sku_order, reservation_order, request_order
local due_max, due_lines_left, is_more_due, expired, lateness_ms_max -- of holds past their deadline
local passed, passed_count -- random parts of due holds that are in neither store; nil = none
local lines_looked_at
local operations, is_made -- all of this call; whether any of its reserves was made before, nil = not looked yet

local function start_call(keys, arguments)
  call, format, concat = redis.call, string.format, table.concat
  META, LOG, DUE = keys[1], keys[2], keys[3]
  BASE = string.sub(LOG, 1, -4) -- the log's name without its last three letters
  NONCE, EPOCH, LATE_MS, BACKLOG_MAX = arguments[1], arguments[2], tonumber(arguments[3]), tonumber(arguments[4])
  time_ms, shift = 0, 0
  now, now_text, seq, seq_text, checkpoint, digest, ask_until_ms = 0, '0', 0, '0', 0, '', 0
  changed = ''
  events, missing, is_missing = {}, {}, {}
  totals, on_hand_moved, held_moved, committed_moved, deducted_moved = '', 0, 0, 0, 0
  skus, reservations, requests, sku_order, reservation_order, request_order = {}, {}, {}, {}, {}, {}
  due_max, due_lines_left, is_more_due, expired, lateness_ms_max = DUE_MAX, DUE_LINES_MAX, false, 0, 0
  passed, passed_count, lines_looked_at = nil, 0, 0
  operations, is_made = {}, nil
end

local function reply(status, fields)
  local answer = { NONCE, status, now_text, format('%d', checkpoint) }
  if fields then
    for i = 1, #fields do answer[4 + i] = fields[i] end
  end
  return answer
end

-- The server's TIME in ms, moved by what its jumps have put it off, and how far the shard's clock may follow it; `horizon` is the
-- field of meta: nothing, "bound", or "bound shift" after a jump.
local function read_time(horizon)
  local time = call('TIME')
  local raw = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  local bound = tonumber(horizon or HORIZON_MAX)
  if not bound then
    local jumped = { string.match(horizon, '^(%d+) (%-?%d+)$') }
    bound, shift = tonumber(jumped[1]), tonumber(jumped[2])
    raw = raw + shift
  end
  return raw, bound
end

-- Reads meta and the clock. Returns the status that ends the call with nothing touched, or nil; and when the lease ends.
local function read_meta()
  local meta = call('HMGET', META, 'epoch', 'seq', 'digest', 'checkpoint', 'clock', 'poison', 'ask_until', 'totals', 'horizon', 'lease')
  if meta[6] then return 'POISONED' end
  if meta[1] ~= EPOCH then return 'CLOSED' end
  totals = meta[8]
  seq, digest, checkpoint = tonumber(meta[2]), meta[3], tonumber(meta[4])
  ask_until_ms = tonumber(meta[7] or '0')
  local clock, bound = tonumber(meta[5]), nil
  time_ms, bound = read_time(meta[9])
  now = math.max(math.min(time_ms, bound), clock)
  now_text = format('%d', now)
  return nil, meta[10]
end

-- By TIME and not by the clock, which stands still while nobody ticks: a call may have waited in a frozen server.
local function is_late()
  return LATE_MS > 0 and math.max(time_ms, now) > LATE_MS
end

-- As `read_meta`, for whatever may be done only in the caller's time and while the lease runs.
local function enter()
  local refusal, lease = read_meta()
  if refusal then return refusal end
  if is_late() then return 'LATE' end
  if lease and time_ms > tonumber(lease) then return 'LAPSED' end
  return nil
end

local function is_backlog_full(spare)
  return seq - checkpoint >= BACKLOG_MAX + spare
end

local function need(name)
  if not is_missing[name] then
    is_missing[name] = true
    missing[#missing + 1] = name
  end
  return nil
end

-- One change: its head now, its other lines by the operation. `facts` after the head are lines of lua/README.md.
local function begin(type, shop, actor, source, reason, reference)
  seq = seq + 1
  seq_text = format('%d', seq)
  changed = EPOCH .. ' ' .. seq_text .. ' ' .. now_text
  local event = {
    'E\t' .. seq_text .. '\t' .. EPOCH .. '\t' .. type .. '\t' .. now_text .. '\t' .. shop .. '\t' .. actor .. '\t' .. source .. '\t'
      .. reason .. '\t' .. reference,
  }
  events[#events + 1] = event
  return event
end
