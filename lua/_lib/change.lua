-- The operations on one reservation. Text: name, shop, id, birth, actor, then the operation's own fields.
-- Each answers {status, id, text, …}; STATE means that its state does not allow the operation.

local function standing(operation)
  local r = meant(operation)
  if not r then return nil, { 'NOT_FOUND' } end
  return r
end

local function refused(r)
  return { 'STATE', r.id, r.text }
end

local function fulfil(r, actor)
  local event = begin('stock.shipped', r.shop, actor, '', '', '')
  r.state, r.ended = 'f', now_text
  tell_reservation(event, r)
  move_lines(event, r, -1, 0, -1)
end

local function apply_extend(operation)
  local r, no = standing(operation)
  if no then return no end
  if r.state ~= 'h' then return refused(r) end
  if is_backlog_full(0) then return { 'BACKLOG' } end
  local name = operation.tier ~= '' and operation.tier or r.tier
  local tier = operation.tiers[name]
  if not tier then return { 'NO_TIER', name } end
  local ttl_ms = operation.ttl_ms ~= '' and tonumber(operation.ttl_ms) or tier.ttl_ms
  if ttl_ms > tier.ttl_ms_max then return { 'TTL_TOO_LONG', name, format('%d', tier.ttl_ms_max) } end
  local latest = tonumber(r.created) + tier.lifetime_ms
  if now + ttl_ms > latest then return { 'EXTENSION_LIMIT', r.id, format('%d', latest) } end
  local event = begin('stock.extended', r.shop, operation.actor, '', '', '')
  leave_due(r)
  r.tier, r.deadline = name, now + ttl_ms
  enter_due(r)
  tell_reservation(event, r)
  return { 'EXTENDED', r.id, r.text }
end

-- The shortages when the lines of an expired reservation are not all free again; empty when they are.
local function lost_lines(r)
  local short = {}
  for i = 1, #r.lines do
    local line = r.lines[i]
    local sku = skus[r.shop .. '/' .. line.sku]
    local levels = { sku.levels[line.location] }
    if sku.is_paused or #levels == 0 or available(levels[1]) < line.quantity then
      short[#short + 1] = shortage(sku, line.location, levels, line.quantity, 0)
    end
  end
  return short
end

local function apply_confirm(operation)
  local r, no = standing(operation)
  if no then return no end
  local is_reacquired = false
  if r.state == 'e' and operation.may_reacquire and now <= r.deadline + operation.retention_ms then
    if is_backlog_full(0) then return { 'BACKLOG' } end
    local short = lost_lines(r)
    if #short > 0 then return { 'OUT_OF_STOCK', concat(short, '\n') } end
    is_reacquired = true
  elseif r.state == 'r' or r.state == 'e' then
    return refused(r)
  end
  if is_backlog_full(BACKLOG_SPARE) then return { 'BACKLOG' } end
  if r.state == 'h' or is_reacquired then
    local event = begin('stock.confirmed', r.shop, operation.actor, '', is_reacquired and 'reacquired' or '', '')
    if r.state == 'h' then leave_due(r) end
    r.state, r.confirmed, r.ended, r.is_revived = 'c', now_text, '', is_reacquired
    tell_reservation(event, r)
    move_lines(event, r, 0, is_reacquired and 0 or -1, 1)
  end
  if operation.is_fulfil and r.state == 'c' then fulfil(r, operation.actor) end
  return { 'CONFIRMED', r.id, r.text, is_reacquired and '1' or '0' }
end

local function apply_fulfil(operation)
  local r, no = standing(operation)
  if no then return no end
  if r.state == 'f' then return { 'FULFILLED', r.id, r.text } end
  if r.state ~= 'c' then return refused(r) end
  if is_backlog_full(BACKLOG_SPARE) then return { 'BACKLOG' } end
  fulfil(r, operation.actor)
  return { 'FULFILLED', r.id, r.text }
end

local function apply_release(operation)
  local r, no = standing(operation)
  if no then return no end
  if r.state == 'f' then return refused(r) end
  if r.state == 'r' or r.state == 'e' then return { 'RELEASED', r.id, r.text } end
  if is_backlog_full(BACKLOG_SPARE) then return { 'BACKLOG' } end
  local event = begin('stock.released', r.shop, operation.actor, '', operation.reason, '')
  local was_held = r.state == 'h'
  r.state, r.ended = 'r', now_text
  tell_reservation(event, r)
  if was_held then
    give_back_lines(event, r)
  else
    move_lines(event, r, 0, 0, -1)
  end
  return { 'RELEASED', r.id, r.text }
end

-- A confirm that may reacquire needs units: what is due of the skus comes back first.
local function touch_confirm(operation)
  touch_reservation(operation)
  local r = reservations[operation.id]
  if not r or r.state ~= 'e' or not operation.may_reacquire then return end
  for i = 1, #r.lines do
    local sku = sku_of(r.shop .. '/' .. r.lines[i].sku)
    if sku then collect(sku) end
  end
end

-- The operation's fields that all have; and where the others begin.
local function change_operation(text, touch, apply)
  local shop, id, birth, actor, at = string.match(text, '^%a+\t([^\t]*)\t([^\t]*)\t([^\t]*)\t([^\t\n]*)()')
  return { touch = touch, apply = apply, shop = shop, id = id, birth = birth, actor = actor }, at
end

-- Own fields: tier ('' = as it is), ttl_ms ('' = the tier's); then a line per tier: name, ttl_ms, ttl_ms_max, lifetime_ms.
local function extend_operation(text)
  local operation, at = change_operation(text, touch_reservation, apply_extend)
  operation.tier, operation.ttl_ms = string.match(text, '^\t([^\t]*)\t(%d*)', at)
  operation.tiers = {}
  for name, ttl_ms, ttl_ms_max, lifetime_ms in string.gmatch(text, '\n([^\t]*)\t(%d+)\t(%d+)\t(%d+)') do
    operation.tiers[name] =
      { ttl_ms = tonumber(ttl_ms), ttl_ms_max = tonumber(ttl_ms_max), lifetime_ms = tonumber(lifetime_ms) }
  end
  return operation
end

-- Own fields: reacquire (0 or 1), fulfil (0 or 1), retention_ms.
local function confirm_operation(text)
  local operation, at = change_operation(text, touch_confirm, apply_confirm)
  local reacquire, is_fulfil, retention_ms = string.match(text, '^\t(%d)\t(%d)\t(%d+)', at)
  operation.may_reacquire, operation.is_fulfil = reacquire == '1', is_fulfil == '1'
  operation.retention_ms = tonumber(retention_ms)
  return operation
end

local function fulfil_operation(text)
  return (change_operation(text, touch_reservation, apply_fulfil))
end

-- Own field: reason.
local function release_operation(text)
  local operation, at = change_operation(text, touch_reservation, apply_release)
  operation.reason = string.match(text, '^\t([^\t]*)', at)
  return operation
end
