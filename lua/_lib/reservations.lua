-- Reservations: one string each, a line of fields and a line per line; and their return to stock at the deadline.

local function parse_reservation(id, text)
  local state, deadline, epoch, at_seq, birth_epoch, birth_seq, created, confirmed, ended, shop, tier, rest, at =
    string.match(text, '^(%a)\t(%d+)\t(%d+)\t(%d+)\t(%d+)\t(%d+)\t(%d+)\t(%d*)\t(%d*)\t([^\t]*)\t([^\t]*)\t([^\n]*)()')
  local request = string.match(rest, '^[^\t]*\t[^\t]*\t[^\t]*\t(.*)$')
  local reservation = {
    id = id, state = state, deadline = tonumber(deadline), epoch = epoch, seq = at_seq, birth_epoch = birth_epoch,
    birth_seq = birth_seq, created = created, confirmed = confirmed, ended = ended, shop = shop, tier = tier,
    rest = rest, request = request, lines = {},
  }
  for sku, location, quantity, settled in string.gmatch(string.sub(text, at), '\n([^\t]*)\t([^\t]*)\t(%d+)\t(%d)') do
    reservation.lines[#reservation.lines + 1] =
      { sku = sku, location = location, quantity = number_of(quantity), quantity_text = quantity, is_settled = settled == '1', level = false }
  end
  return reservation
end

-- The first row of the reservation's text, and a text per line.
local function pack_reservation(r)
  local head = r.state .. '\t' .. deadline_text(r.deadline) .. '\t' .. r.epoch .. '\t' .. r.seq .. '\t' .. r.birth_epoch .. '\t'
    .. r.birth_seq .. '\t' .. r.created .. '\t' .. r.confirmed .. '\t' .. r.ended .. '\t' .. r.shop .. '\t' .. r.tier .. '\t' .. r.rest
  local lines, rows = r.lines, {}
  for i = 1, #lines do
    local line = lines[i]
    rows[i] = line.sku .. '\t' .. line.location .. '\t' .. line.quantity_text .. (line.is_settled and '\t1' or '\t0')
  end
  return head, rows
end

-- The reservation by its random part, read once per call; nil when it is not in Redis, and then it is asked for.
local function reservation_of(id)
  local reservation = reservations[id]
  if reservation then return reservation end
  local text = call('GET', BASE .. 'r:' .. id)
  if not text then return need('r:' .. id) end
  reservation = parse_reservation(id, text)
  reservation.text = text
  reservations[id] = reservation
  return reservation
end

-- Tells the event what the reservation is after it.
local function tell_reservation(event, r)
  r.epoch, r.seq = EPOCH, seq_text
  local head, rows = pack_reservation(r)
  r.text = head .. '\n' .. concat(rows, '\n')
  if not r.is_dirty then
    r.is_dirty = true
    reservation_order[#reservation_order + 1] = r
  end
  local at = #event
  event[at + 1] = 'R\t' .. r.id .. '\t' .. head .. '\nI\t' .. concat(rows, '\nI\t')
end

local function write_reservations()
  local pairs_to_set = { 'MSET' }
  for i = 1, #reservation_order do
    local r = reservation_order[i]
    pairs_to_set[2 * i], pairs_to_set[2 * i + 1] = BASE .. 'r:' .. r.id, r.text
    if r.is_revived and r.request ~= '' then call('PERSIST', BASE .. 'q:' .. r.request) end
  end
  if #reservation_order > 0 then call(unpack(pairs_to_set)) end
end

-- Whether every sku of the reservation's lines is in Redis; those that are not are asked for.
local function has_lines_loaded(r)
  local is_loaded = true
  for i = 1, #r.lines do
    if not sku_of(r.shop .. '/' .. r.lines[i].sku) then is_loaded = false end
  end
  return is_loaded
end

-- The level of a line. It exists, because a level with units promised is never dropped.
local function level_of(r, line)
  local level = line.level
  if not level then
    level = skus[r.shop .. '/' .. line.sku].levels[line.location]
    line.level = level
  end
  return level
end

-- Moves every unsettled line's units.
local function move_lines(event, r, on_hand, held, committed)
  for i = 1, #r.lines do
    local line = r.lines[i]
    if not line.is_settled then move_units(event, level_of(r, line), line, on_hand, held, committed) end
  end
end

-- The units of every line are held until the deadline.
local function hold_lines(event, r)
  local lines, at, id, deadline = r.lines, #event, r.id, r.deadline
  for i = 1, #lines do
    local line = lines[i]
    local level = line.level
    event[at + i] = move_held(level, line.quantity, line.quantity_text)
    due_add(level.sku, id, deadline)
  end
end

-- The units of every line of a hold are free again.
local function give_back_lines(event, r)
  local lines, at = r.lines, #event
  for i = 1, #lines do
    local line = lines[i]
    local level = level_of(r, line)
    event[at + i] = move_held(level, -line.quantity, '-' .. line.quantity_text)
    due_remove(level.sku, r.id, r.deadline)
  end
end

local function leave_due(r)
  for i = 1, #r.lines do due_remove(level_of(r, r.lines[i]).sku, r.id, r.deadline) end
end

local function enter_due(r)
  for i = 1, #r.lines do due_add(level_of(r, r.lines[i]).sku, r.id, r.deadline) end
end

-- Gives a hold back that is past its deadline, as an event of its own. Its lines must be loaded.
local function expire(r)
  local event = begin('stock.expired', r.shop, 'gateway', '', 'deadline', '')
  r.state, r.ended = 'e', format('%d', r.deadline)
  tell_reservation(event, r)
  give_back_lines(event, r)
  due_lines_left, expired = due_lines_left - #r.lines, expired + 1
  if now - r.deadline > lateness_ms_max then lateness_ms_max = now - r.deadline end
end

-- Takes a hold back that is due; sets `is_more_due` when it is too much beside those that this call has taken back before it, or
-- when it was so large that the call's own work is better left to its repetition. The first one always comes back, so that every
-- repetition gets further.
local function expire_if_due(r)
  if r.state ~= 'h' or r.deadline > now then return end
  if expired > 0 and (expired >= due_max or #r.lines > due_lines_left) then
    is_more_due = true
  elseif has_lines_loaded(r) then
    expire(r)
    if due_lines_left < 0 then is_more_due = true end
  end
end

-- Takes back what is due of the sku; sets `is_more_due` as soon as there is more than one call may do, and then reads no further.
local function collect(sku)
  if sku.next_due == 0 or sku.next_due > now or sku.is_collected or is_more_due then return end
  sku.is_collected, sku.is_due_stale = true, true
  local limit = due_max + passed_count + 1
  local ids = call('ZRANGEBYSCORE', BASE .. 'd:' .. sku.name, '-inf', now_text, 'LIMIT', 0, limit)
  for i = 1, #ids do
    local r = not (passed and passed[ids[i]]) and reservation_of(ids[i])
    if r and r.state ~= 'h' and not r.is_dirty then
      due_drop(sku, ids[i]) -- an entry without a hold, left by damage: it must not stand in the way
    elseif r then
      expire_if_due(r)
      if is_more_due then return end
    end
  end
  if #ids == limit then is_more_due = true end
end

-- What looking at a reservation starts with: it is loaded, and expired if its deadline has passed.
local function touch_reading(operation)
  local r = reservation_of(operation.id)
  if r then expire_if_due(r) end
end

-- What changing a reservation starts with: the skus whose units it still has a claim on are loaded, too.
local function touch_reservation(operation)
  local r = reservation_of(operation.id)
  if r and (r.state == 'h' or r.state == 'c') and has_lines_loaded(r) then expire_if_due(r) end
end

-- The reservation if it is the one the caller means: of the same shop and the same birth.
local function meant(operation)
  local r = reservations[operation.id]
  if r.shop == operation.shop and r.birth_epoch .. '-' .. r.birth_seq == operation.birth then return r end
  return nil
end
