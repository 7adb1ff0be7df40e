-- The operations on stock itself: what a source tells about a level, adjustments, and the pause of a sku.

local function touch_sku(operation)
  local sku = sku_of(operation.shop .. '/' .. operation.sku)
  if sku then collect(sku) end
end

-- Asks for the reservations a count reflects as well.
local function touch_put(operation)
  touch_sku(operation)
  for i = 1, #operation.reflects do
    touch_reservation(operation.reflects[i])
  end
end

local function new_level(sku, location)
  local level = read_level(sku, location, '0 0 0 0 0 0 0 0 0')
  level.is_dirty = true
  sku.levels[location] = level
  sku.order[#sku.order + 1] = location
  sort_names(sku.order)
  return level
end

-- The rows of a level's sources by name, and their names in order.
local function sources_of(sku, location)
  local rows, names = {}, {}
  local level = sku.levels[location]
  local text = level and level.sources or sku.sources[location] or ''
  for source, sequence, deduction, content in string.gmatch(text, '([^\t\n]+)\t(%d+)\t(%d+)\t(%x+)') do
    rows[source] = { sequence = tonumber(sequence), deduction = tonumber(deduction), content = content }
    names[#names + 1] = source
  end
  return rows, names
end

local function pack_sources(rows, names)
  local lines = {}
  for i = 1, #names do
    local row = rows[names[i]]
    lines[i] = format('%s\t%d\t%d\t%s', names[i], row.sequence, row.deduction, row.content)
  end
  return concat(lines, '\n')
end

-- The ids a count may not reflect: unknown, of another shop, or not confirmed.
local function unsettled_ids(operation)
  local bad = {}
  for i = 1, #operation.reflects do
    local wanted = operation.reflects[i]
    local r = meant({ id = wanted.id, birth = wanted.birth, shop = operation.shop })
    if not r or r.state ~= 'c' then bad[#bad + 1] = wanted.id end
  end
  return bad
end

-- Takes this level's lines of a confirmed reservation out of `committed`: the source's count no longer contains them.
local function settle(operation, sku, level, r)
  local units, is_whole, last = 0, true, nil
  for i = 1, #r.lines do
    local line = r.lines[i]
    if line.sku == operation.sku and line.location == operation.location and not line.is_settled then
      line.is_settled, units, last = true, units + line.quantity, line
    end
    if not line.is_settled then is_whole = false end
  end
  if not last then return end
  local event = begin('stock.shipped', r.shop, operation.actor, operation.source, 'reflected', '')
  if is_whole then r.state, r.ended = 'f', now_text end
  tell_reservation(event, r)
  move(event, level, 0, 0, -units, 0, 0)
end

local function apply_put(operation)
  if not operation.on_hand and #operation.reflects > 0 then return { 'NO_COUNT' } end -- it would put sold units back on sale
  local sku = skus[operation.shop .. '/' .. operation.sku]
  local level = sku.levels[operation.location]
  local rows, names = sources_of(sku, operation.location)
  local row = rows[operation.source]
  if row and operation.sequence == row.sequence and operation.content == row.content then
    return { 'UNCHANGED', tell_sku(sku) }
  end
  if row and operation.sequence <= row.sequence then return { 'STALE', format('%d', row.sequence) } end
  local version = level and level.version or 0
  if operation.if_match and operation.if_match ~= version then return { 'CONFLICT', format('%d', version) } end
  local bad = unsettled_ids(operation)
  if #bad > 0 then return { 'NOT_CONFIRMED', unpack(bad) } end
  if not row and #names >= 100 then return { 'TOO_MANY_SOURCES' } end
  if is_backlog_full(0) then return { 'BACKLOG' } end
  level = level or new_level(sku, operation.location)
  for i = 1, #operation.reflects do settle(operation, sku, level, reservations[operation.reflects[i].id]) end
  local on_hand = (operation.on_hand or level.on_hand) - level.on_hand
  local safety = (operation.safety or level.safety) - level.safety
  local deduction = operation.deduction or (row and row.deduction or 0)
  local deducted = deduction - (row and row.deduction or 0)
  local type = operation.on_hand and 'stock.counted' or 'stock.configured'
  local event = begin(type, operation.shop, operation.actor, operation.source, '', '')
  move(event, level, on_hand, 0, 0, deducted, safety)
  if not row then names[#names + 1] = operation.source end
  rows[operation.source] = { sequence = operation.sequence, deduction = deduction, content = operation.content }
  level.sources = pack_sources(rows, names)
  event[#event + 1] = format('S\t%s\t%s\t%s\t%d\t%d\t%s', operation.sku, operation.location, operation.source,
    operation.sequence, deduction, operation.content)
  return { 'APPLIED', tell_sku(sku) }
end

local function touch_adjust(operation)
  operation.replay = request_of(operation.record, operation.has_asked)
  touch_sku(operation)
end

local function apply_adjust(operation)
  local sku = skus[operation.shop .. '/' .. operation.sku]
  local record = requests[operation.record]
  if record then
    if record.fingerprint ~= operation.fingerprint then return { 'REUSED' } end
    return { 'REPLAYED', tell_sku(sku) }
  end
  local level = sku.levels[operation.location]
  if not level then return { 'NO_LEVEL' } end
  if operation.if_match and operation.if_match ~= level.version then return { 'CONFLICT', level.version_text } end
  local on_hand = level.on_hand + operation.delta
  if operation.delta < 0 and on_hand < 0 then return { 'INSUFFICIENT', format('%d', level.on_hand) } end
  if operation.delta > 0 and on_hand > 1000000000 then return { 'TOO_LARGE', format('%d', level.on_hand) } end
  if is_backlog_full(0) then return { 'BACKLOG' } end
  local event = begin('stock.adjusted', operation.shop, operation.actor, '', operation.reason, operation.reference)
  move(event, level, operation.delta, 0, 0, 0, 0)
  claim(event, operation.record, 'adjust', operation.fingerprint, '')
  return { 'ADJUSTED', tell_sku(sku) }
end

local function apply_pause(operation)
  local sku = skus[operation.shop .. '/' .. operation.sku]
  if #sku.order == 0 then return { 'NO_LEVEL' } end
  if sku.is_paused == operation.is_paused and (not sku.is_paused or string.match(sku.pause, '\t(.*)$') == operation.reason) then
    return { 'UNCHANGED', tell_sku(sku) }
  end
  if is_backlog_full(0) then return { 'BACKLOG' } end
  local type = operation.is_paused and 'stock.paused' or 'stock.resumed'
  local event = begin(type, operation.shop, operation.actor, '', operation.reason, '')
  local reason = operation.is_paused and operation.reason or ''
  sku.is_paused, sku.pause = operation.is_paused, EPOCH .. ' ' .. seq_text .. '\t' .. reason
  sku.is_head_dirty, sku.is_dirty = true, true
  event[#event + 1] = format('K\t%s\t%d\t%s', operation.sku, sku.is_paused and 1 or 0, reason)
  return { 'APPLIED', tell_sku(sku) }
end

-- Text: "put", shop, actor, sku, location, source, sequence, on_hand, deduction, safety, content, if_match; then a line per
-- reflected reservation: id, birth. Numbers may be '' for "as it is".
local function put_operation(text)
  local shop, actor, sku, location, source, sequence, on_hand, deduction, safety, content, if_match =
    string.match(text, '^put' .. string.rep('\t([^\t\n]*)', 11))
  local reflects = {}
  for id, birth in string.gmatch(text, '\n([^\t]*)\t([^\n]*)') do reflects[#reflects + 1] = { id = id, birth = birth } end
  return {
    touch = touch_put, apply = apply_put, shop = shop, actor = actor, sku = sku, location = location, source = source,
    sequence = tonumber(sequence), on_hand = tonumber(on_hand), deduction = tonumber(deduction), safety = tonumber(safety),
    content = content, if_match = tonumber(if_match), reflects = reflects,
  }
end

-- Text: "adjust", shop, actor, sku, location, delta, reason, reference, record, fingerprint, if_match, asked.
local function adjust_operation(text)
  local shop, actor, sku, location, delta, reason, reference, record, fingerprint, if_match, asked =
    string.match(text, '^adjust' .. string.rep('\t([^\t\n]*)', 11))
  return {
    touch = touch_adjust, apply = apply_adjust, shop = shop, actor = actor, sku = sku, location = location, delta = tonumber(delta),
    reason = reason, reference = reference, record = record, fingerprint = fingerprint, if_match = tonumber(if_match),
    has_asked = asked == '1',
  }
end

-- Text: "pause", shop, actor, sku, paused (0 or 1), reason.
local function pause_operation(text)
  local shop, actor, sku, paused, reason = string.match(text, '^pause' .. string.rep('\t([^\t\n]*)', 5))
  return {
    touch = touch_sku, apply = apply_pause, shop = shop, actor = actor, sku = sku, is_paused = paused == '1', reason = reason,
  }
end
