-- Allocation: which levels a wish is taken from, and why not when it is not.

-- The levels a wish may use, in order: its own location; else only the named ones; else the priority and then all others by name.
local function considered(sku, location, is_only, preference)
  if location ~= '' then return { sku.levels[location] } end
  local levels = {}
  if preference == '' then
    for i = 1, is_only and 0 or #sku.order do levels[i] = sku.levels[sku.order[i]] end
    return levels
  end
  local is_listed = {}
  for name in string.gmatch(preference, '[^,]+') do
    if sku.levels[name] and not is_listed[name] then
      levels[#levels + 1], is_listed[name] = sku.levels[name], true
    end
  end
  if is_only then return levels end
  for i = 1, #sku.order do
    if not is_listed[sku.order[i]] then levels[#levels + 1] = sku.levels[sku.order[i]] end
  end
  return levels
end

-- The first of them, or nil.
local function first_considered(sku, location, is_only, preference)
  if location ~= '' then return sku.levels[location] end
  if preference == '' then return not is_only and sku.levels[sku.order[1]] or nil end
  return considered(sku, location, is_only, preference)[1]
end

-- Takes up to `quantity` from the levels: all from the first that covers it, else in order. Returns what is left over.
local function take(takes, sku, levels, quantity)
  for i = 1, #levels do
    if available(levels[i]) >= quantity then
      levels[i].taken = levels[i].taken + quantity
      takes[#takes + 1] = { sku = sku, level = levels[i], quantity = quantity }
      return 0
    end
  end
  for i = 1, #levels do
    local units = math.min(available(levels[i]), quantity)
    if units > 0 then
      levels[i].taken = levels[i].taken + units
      takes[#takes + 1] = { sku = sku, level = levels[i], quantity = units }
      quantity = quantity - units
    end
  end
  return quantity
end

local function put_back(takes)
  for i = 1, #takes do takes[i].level.taken = 0 end
end

-- The sku's open holds as {deadline, id}, earliest first: the `first` ones of the index, as this call has changed them so far. `left_out`
-- is the random part of one that is not asked about, or nil.
local function open_holds(sku, left_out, first)
  local indexed, holds = call('ZRANGE', BASE .. 'd:' .. sku.name, 0, first - 1, 'WITHSCORES'), {}
  for i = 1, #indexed, 2 do
    local id = indexed[i]
    if not sku.removed[id] and not sku.added[id] and id ~= left_out then holds[#holds + 1] = { tonumber(indexed[i + 1]), id } end
  end
  for id, deadline in pairs(sku.added) do holds[#holds + 1] = { deadline, id } end
  table.sort(holds, function(one, other) return one[1] < other[1] end)
  return holds
end

-- The earliest of these holds that has units at one of the levels, or nil; with very many lines looked at, one that is no later.
local function first_at(levels, sku, holds)
  local wanted = {}
  for i = 1, #levels do wanted[levels[i].location] = true end
  for i = 1, #holds do
    if #sku.order == 1 or lines_looked_at > 1000 then return holds[i] end
    local r = reservation_of(holds[i][2])
    for j = 1, r and #r.lines or 0 do
      local line = r.lines[j]
      lines_looked_at = lines_looked_at + 1
      if wanted[line.location] and r.shop .. '/' .. line.sku == sku.name then return holds[i] end
    end
  end
  return nil
end

-- The earliest deadline of a hold that has units at one of the levels; with very many holds elsewhere first, a lower bound of it. What
-- is sold out may have a million holds and is asked for by everybody: mostly one of the first holds is it, and no more are read.
local function next_release(sku, levels, left_out)
  if not left_out and not next(sku.added) and not next(sku.removed) then
    local first = first_at(levels, sku, open_holds(sku, left_out, #sku.order == 1 and 1 or 10))
    if first then return format('%d', first[1]) end
  end
  local holds = open_holds(sku, left_out, 100)
  local first = first_at(levels, sku, holds) or holds[#holds]
  return first and format('%d', first[1]) or '0'
end

-- Why a wish is short, as a line: sku, location, requested, available, reason, next_release. `taken` units of this wish count as
-- free. `own` is nil, or {id, units by level}: the hold that the wish has become already, which is no reason for its shortage.
local function shortage(sku, location, levels, quantity, taken, own)
  local free, with_held, with_safety, held, safety = taken, taken, taken, 0, 0
  local function usable(units) return #levels > 1 and math.max(units, 0) or units end -- a level that owes takes none from the others
  for i = 1, #levels do
    local units, spare = available(levels[i]), math.max(levels[i].safety, 0)
    local held_here = levels[i].held - (own and own.units[levels[i]] or 0)
    free, with_held = free + usable(units), with_held + usable(units + held_here)
    with_safety = with_safety + usable(units + held_here + spare)
    held, safety = held + held_here, safety + spare
  end
  local reason, next_release_at = 'sold_out', '0'
  if sku.is_paused then
    reason = 'paused'
  elseif held > 0 and with_held >= quantity then
    reason, next_release_at = 'held', next_release(sku, levels, own and own.id)
  elseif safety > 0 and with_safety >= quantity then
    reason = 'reserved_for_safety'
  end
  return format('%s\t%s\t%d\t%d\t%s\t%s', sku.plain, location, quantity, own and taken or free, reason, next_release_at)
end
