-- The operation reserve. Text: "reserve", id, record, fingerprint, shop, actor, tier, ttl_ms, reference, customer, channel, partial, only,
-- locations, asked; then a line per wish: sku, location, quantity.

local RESERVE -- the pattern of the operation's fields, made at the first call

local function touch_wishes(operation)
  for i = 1, #operation.wishes do
    local wish = operation.wishes[i]
    local sku = sku_of(operation.shop .. '/' .. wish.sku, wish.sku)
    wish.stock = sku
    if sku then collect(sku) end
  end
end

-- Whether any reserve without a key has been made before: one look for all of this call, because hardly any has.
local function is_any_made()
  if is_made == nil then
    local look = { 'EXISTS' }
    for i = 1, #operations do
      local operation = operations[i]
      if operation.wishes and operation.record == '' then look[#look + 1] = BASE .. 'r:' .. operation.id end
    end
    is_made = call(unpack(look)) > 0
  end
  return is_made
end

local function touch_reserve(operation)
  if operation.record ~= '' then
    operation.replay = request_of(operation.record, operation.has_asked)
    if operation.replay == nil then return end
    if operation.replay then
      touch_reading({ id = operation.replay.target })
      return
    end
  elseif is_any_made() and call('EXISTS', BASE .. 'r:' .. operation.id) == 1 then
    touch_reading(operation) -- this very attempt, sent again because its answer was lost
    operation.replay = { target = operation.id, fingerprint = operation.fingerprint }
    if operation.is_partial then touch_wishes(operation) end -- they tell again why they were short
    return
  end
  touch_wishes(operation)
end

-- The shortages of a partial reserve that is sent again: what each wish was given is told by the reservation's lines, for wishes with
-- a location were served first and no level has two of them; why it was not more is judged as it is now.
local function shortages_again(operation, r)
  local units_left, own, shortages = {}, { id = r.id, units = {} }, {}
  for i = 1, #r.lines do
    local line = r.lines[i]
    local level = skus[r.shop .. '/' .. line.sku].levels[line.location]
    units_left[level] = line.quantity
    if r.state == 'h' then own.units[level] = line.quantity end
  end
  for pass = 1, 2 do
    for i = 1, #operation.wishes do
      local wish = operation.wishes[i]
      if (wish.asked ~= '') == (pass == 1) then
        local sku, given = wish.stock, 0
        local levels = considered(sku, wish.asked, operation.is_only, operation.locations)
        for j = 1, #levels do
          local units = math.min(units_left[levels[j]] or 0, wish.quantity - given)
          if units > 0 then given, units_left[levels[j]] = given + units, units_left[levels[j]] - units end
        end
        if given < wish.quantity then
          shortages[#shortages + 1] = shortage(sku, wish.asked, levels, wish.quantity, given, own)
        end
      end
    end
  end
  return concat(shortages, '\n')
end

local function replayed(operation, record)
  if record.fingerprint ~= operation.fingerprint then return { 'REUSED' } end
  local r = reservations[record.target]
  if operation.record ~= '' then return { 'REPLAYED', r.id, r.text, '' } end
  return { 'RESERVED', r.id, r.text, operation.is_partial and shortages_again(operation, r) or '' }
end

-- Judges every wish, those with a location first. Returns takes by wish, and the shortages.
local function allocate(operation)
  local takes_of, taken, shortages = {}, {}, {}
  for pass = 1, 2 do
    for i = 1, #operation.wishes do
      local wish = operation.wishes[i]
      if (wish.asked ~= '') == (pass == 1) then
        local sku, takes = wish.stock, {}
        local levels = considered(sku, wish.asked, operation.is_only, operation.locations)
        local left = sku.is_paused and wish.quantity or take(takes, sku, levels, wish.quantity)
        if left > 0 then
          shortages[#shortages + 1] = shortage(sku, wish.asked, levels, wish.quantity, wish.quantity - left)
        end
        takes_of[i] = takes
        for j = 1, #takes do taken[#taken + 1] = takes[j] end
      end
    end
  end
  return takes_of, taken, shortages
end

-- Lines in the order of the wishes; units of one level stand in one line.
local function lines_of(takes_of)
  local lines, line_of = {}, {}
  for i = 1, #takes_of do
    for _, piece in ipairs(takes_of[i]) do
      local line = line_of[piece.level]
      if line then
        line.quantity = line.quantity + piece.quantity
      else
        line = { sku = piece.sku.plain, location = piece.level.location, quantity = piece.quantity, level = piece.level }
        line_of[piece.level] = line
        lines[#lines + 1] = line
      end
    end
  end
  for i = 1, #lines do lines[i].quantity_text = format('%d', lines[i].quantity) end
  return lines
end

-- The lines of nearly every reserve, without the tables of `allocate`: the wishes themselves, where each is covered by the first level it
-- may use, and no other one uses that. Else nil.
local function plain_lines(operation)
  local wishes, is_only, preference = operation.wishes, operation.is_only, operation.locations
  for i = 1, #wishes do
    local wish = wishes[i]
    local sku = wish.stock
    local level = first_considered(sku, wish.asked, is_only, preference)
    if not level or sku.is_paused or level.user == operation or available(level) < wish.quantity then return nil end
    wish.level, wish.location, level.user = level, level.location, operation
  end
  return wishes
end

local function unknown_skus(operation)
  local unknown = {}
  for i = 1, #operation.wishes do
    local wish = operation.wishes[i]
    if #wish.stock.order == 0 then unknown[#unknown + 1] = wish.sku end
  end
  return unknown
end

-- What the same wish was refused with before in this call, where nothing was changed since: in a sale everybody wants the same.
local function refused_before(operation)
  local wish = operation.wishes[1]
  local like = not operation.wishes[2] and wish.stock.last_short
  if like and like.refused_at == #events and like.wishes[1].quantity == wish.quantity and like.wishes[1].asked == wish.asked
    and like.is_partial == operation.is_partial and like.is_only == operation.is_only and like.locations == operation.locations then
    return like.refused_with
  end
  return nil
end

local function refuse(operation, shortages)
  if not operation.wishes[2] then
    operation.wishes[1].stock.last_short, operation.refused_at, operation.refused_with = operation, #events, shortages
  end
  return { 'OUT_OF_STOCK', shortages }
end

local function apply_reserve(operation)
  local record = operation.replay or (operation.record ~= '' and requests[operation.record])
  if record then return replayed(operation, record) end
  if is_backlog_full(0) then return { 'BACKLOG' } end
  local lines, shortages = plain_lines(operation), ''
  if not lines then
    local before = refused_before(operation)
    if before then return { 'OUT_OF_STOCK', before } end
    local unknown = unknown_skus(operation)
    if #unknown > 0 then return { 'UNKNOWN_SKU', unpack(unknown) } end
    local takes_of, taken, short = allocate(operation)
    put_back(taken)
    lines, shortages = lines_of(takes_of), concat(short, '\n')
    if #taken == 0 or (#short > 0 and not operation.is_partial) then return refuse(operation, shortages) end
  end
  local event = begin('stock.reserved', operation.shop, operation.actor, '', '', string.match(operation.rest, '^[^\t]*'))
  local r = {
    id = operation.id, state = 'h', deadline = now + operation.ttl_ms, birth_epoch = EPOCH, birth_seq = seq_text, created = now_text,
    confirmed = '', ended = '', shop = operation.shop, tier = operation.tier, request = operation.record,
    rest = operation.rest .. '\t' .. operation.record,
    lines = lines,
  }
  reservations[r.id] = r
  tell_reservation(event, r)
  hold_lines(event, r)
  if operation.record ~= '' then claim(event, operation.record, 'reserve', operation.fingerprint, r.id) end
  return { 'RESERVED', r.id, r.text, shortages }
end

-- A wish, which may become a line. `asked` is the location that is asked for, or empty.
local function wish_of(sku, asked, quantity)
  return {
    sku = sku, asked = asked, quantity = number_of(quantity), quantity_text = quantity, stock = false, level = false, location = false,
    is_settled = false,
  }
end

local function reserve_operation(text)
  RESERVE = RESERVE or '^reserve' .. string.rep('\t([^\t\n]*)', 7) .. '\t([^\t\n]*\t[^\t\n]*\t[^\t\n]*)\t(%d)\t(%d)\t([^\t\n]*)\t(%d)\n([^\t]*)\t([^\t]*)\t(%d+)()'
  local id, record, fingerprint, shop, actor, tier, ttl_ms, rest, partial, only, locations, asked, first_sku, first_location, first_quantity, at =
    string.match(text, RESERVE)
  local wishes = { wish_of(first_sku, first_location, first_quantity) }
  if at <= #text then
    for sku, location, quantity in string.gmatch(string.sub(text, at), '\n([^\t]*)\t([^\t]*)\t(%d+)') do
      wishes[#wishes + 1] = wish_of(sku, location, quantity)
    end
  end
  return {
    touch = touch_reserve, apply = apply_reserve, id = id, record = record, fingerprint = fingerprint, shop = shop, actor = actor,
    tier = tier, ttl_ms = tonumber(ttl_ms), rest = rest,
    is_partial = partial == '1', is_only = only == '1', locations = locations, has_asked = asked == '1', wishes = wishes,
  }
end
