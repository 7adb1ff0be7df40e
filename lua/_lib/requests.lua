-- Request records: what an Idempotency-Key did. Text: fingerprint, operation, target, epoch, seq.

-- The record, read once per call: a table, or false when the key is new. After a rebuild the durable store is asked first.
local function request_of(name, has_asked)
  local record = requests[name]
  if record ~= nil then return record end
  local text = call('GET', BASE .. 'q:' .. name)
  if not text and now < ask_until_ms and not has_asked then return need('q:' .. name) end
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
