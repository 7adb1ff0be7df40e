-- Request records: what an Idempotency-Key did. Text: fingerprint, operation, target, epoch, seq.

-- The record, read once per call: a table, or false when the key is new. After a rebuild the durable store is asked first, and after a
-- jump of TIME, by which a record's life ends; where the clock stands at its horizon, TIME may have jumped and nobody told yet.
local function request_of(name, has_asked)
  local record = requests[name]
  if record ~= nil then return record end
  local text = call('GET', BASE .. 'q:' .. name)
  if not text and (now < ask_until_ms or now < time_ms) and not has_asked then return need('q:' .. name) end
  if text then
    local fingerprint, operation, target, epoch, at_seq = string.match(text, '^(%S*)\t(%S*)\t([^\t]*)\t(%d+)\t(%d+)$')
    record = { fingerprint = fingerprint, operation = operation, target = target, epoch = epoch, seq = at_seq }
  else
    record = false
  end
  requests[name] = record
  return record
end

-- Claims the key for the effect told by this event.
local function claim(event, name, operation, fingerprint, target)
  local record = { name = name, fingerprint = fingerprint, operation = operation, target = target, epoch = EPOCH, seq = seq_text }
  requests[name] = record
  request_order[#request_order + 1] = record
  event[#event + 1] = concat({ 'Q', name, operation, fingerprint, target }, '\t')
end

local function write_request(record)
  call('SET', BASE .. 'q:' .. record.name,
    concat({ record.fingerprint, record.operation, record.target, record.epoch, record.seq }, '\t'))
end

-- Until when a record that is not there is asked for, once TIME has gone on by `unseen_ms` more, or less, than anybody saw pass. Records
-- live a twentieth longer than promised, so half of that does no harm; any more, and one may be gone up to a whole retention early.
local function asked_until(before_ms, unseen_ms, retention_ms)
  if unseen_ms * 40 <= retention_ms then return before_ms end
  return math.max(before_ms, now + retention_ms)
end
