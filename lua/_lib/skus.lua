-- Skus: all levels of one sku in one hash, and the index of its holds by deadline.
-- Fields: '*' = "next_due ttl paused epoch seq<TAB>reason"; 'L<location>' = the counters; 'X<location>' = its sources.

local NONE = {} -- stands where a sku has none of something; nobody writes into it
local spelled_ms, spelled_text -- the deadline that was written last: a number, and its text

local function is_before(one, other)
  for i = 1, #one + 1 do
    local first, second = string.byte(one, i), string.byte(other, i)
    if first ~= second then return not first or (second ~= nil and first < second) end
  end
  return false
end

-- Sorts names by their bytes. `<` compares as the language does in which the server was started; a loop in Lua is slower, so it
-- is for those servers alone.
local function sort_names(names)
  if 'B' < 'a' and '-b' < 'A' then table.sort(names) else table.sort(names, is_before) end
end

-- The sku 'shop/sku', read once per call; nil when it is not in Redis, and then it is asked for. `plain` is its name without the shop,
-- where the caller has it at hand; `pause` the end of its head: epoch and seq of the pause's last change, a tab, and its reason.
local function sku_of(name, plain)
  local sku = skus[name]
  if sku then return sku end
  local flat = call('HGETALL', BASE .. 's:' .. name)
  if #flat == 0 then return need('s:' .. name) end
  local levels, order = {}, {}
  sku = {
    name = name, plain = plain or string.match(name, '^[^/]*/(.*)$'), levels = levels, order = order, sources = NONE, added = {},
    removed = NONE, next_due = false, has_ttl = false, is_paused = false, pause = false, is_dirty = false, is_head_dirty = false,
    is_due_stale = false, is_collected = false, last_short = false,
  }
  for i = 1, #flat, 2 do
    local field, text = flat[i], flat[i + 1]
    local letter = string.byte(field)
    if letter == 76 then -- L
      local location = string.sub(field, 2)
      levels[location] = read_level(sku, location, text)
      order[#order + 1] = location
    elseif letter == 88 then -- X
      if sku.sources == NONE then sku.sources = {} end
      sku.sources[string.sub(field, 2)] = text
    else
      local next_due, ttl, paused, pause = string.match(text, '^(%d+) (%d) (%d) (.*)$')
      sku.next_due, sku.has_ttl, sku.is_paused, sku.pause = number_of(next_due), ttl == '1', paused == '1', pause
    end
  end
  if order[2] then sort_names(order) end
  skus[name] = sku
  sku_order[#sku_order + 1] = sku
  return sku
end

-- Nothing is set to nil that is not there: even that would make a place for it, and the table grow.
local function due_add(sku, id, deadline)
  sku.added[id], sku.is_dirty = deadline, true
  if sku.removed[id] then sku.removed[id] = nil end
end

local function due_drop(sku, id)
  if sku.removed == NONE then sku.removed = {} end
  sku.removed[id], sku.is_dirty = true, true
  if sku.added[id] then sku.added[id] = nil end
end

local function due_remove(sku, id, deadline)
  due_drop(sku, id)
  if deadline <= sku.next_due then sku.is_due_stale = true end -- it may have been the earliest: look again when writing
end

-- The sku's earliest deadline is kept in its '*' field as a lower bound, and once per sku in the shard's index.
local function write_next_due(sku)
  local next_due = sku.next_due
  if sku.is_due_stale then
    local first = call('ZRANGE', BASE .. 'd:' .. sku.name, 0, 0, 'WITHSCORES')
    next_due = first[2] and tonumber(first[2]) or 0
  else
    for _, deadline in pairs(sku.added) do
      if next_due == 0 or deadline < next_due then next_due = deadline end
    end
  end
  if next_due == sku.next_due then return false end
  sku.next_due = next_due
  if next_due == 0 then
    call('ZREM', DUE, sku.name)
  else
    call('ZADD', DUE, format('%d', next_due), sku.name)
  end
  return true
end

-- Sets field, value, … a bounded number per command: Lua cannot unpack thousands at once.
local function set_fields(key, fields)
  for i = 1, #fields, 1000 do call('HSET', key, unpack(fields, i, math.min(i + 999, #fields))) end
end

-- The text of a deadline; those of one call are mostly the same.
local function deadline_text(deadline)
  if deadline ~= spelled_ms then spelled_ms, spelled_text = deadline, format('%d', deadline) end
  return spelled_text
end

local function pack_head(sku)
  return format('%d %d %d %s', sku.next_due, sku.has_ttl and 1 or 0, sku.is_paused and 1 or 0, sku.pause)
end

local function write_sku(sku)
  if not sku.is_dirty and not sku.is_due_stale then return end
  local key, due_key = BASE .. 's:' .. sku.name, BASE .. 'd:' .. sku.name
  if next(sku.removed) then
    local gone = { 'ZREM', due_key }
    for id in pairs(sku.removed) do gone[#gone + 1] = id end
    call(unpack(gone))
  end
  if next(sku.added) then
    local come, count = { 'ZADD', due_key }, 2
    for id, deadline in pairs(sku.added) do
      come[count + 1], come[count + 2], count = deadline_text(deadline), id, count + 2
    end
    call(unpack(come))
  end
  local is_head_dirty = write_next_due(sku) or sku.is_head_dirty
  if not sku.is_dirty and not is_head_dirty then return end
  local fields = {}
  for location, level in pairs(sku.levels) do
    if level.is_dirty then
      fields[#fields + 1] = 'L' .. location
      fields[#fields + 1] = pack_level(level)
      if level.sources then
        fields[#fields + 1] = 'X' .. location
        fields[#fields + 1] = level.sources
      end
    end
  end
  if sku.has_ttl and sku.is_dirty then
    sku.has_ttl, is_head_dirty = false, true
    call('PERSIST', key)
  end
  if is_head_dirty then
    fields[#fields + 1] = '*'
    fields[#fields + 1] = pack_head(sku)
  end
  set_fields(key, fields)
end

-- A sku as text for the answer: '*' line, then an L line per level, then an X line per level's sources.
local function tell_sku(sku)
  local pause = string.gsub(sku.pause, ' ', '\t', 1)
  local lines = { '*\t' .. sku.name .. (sku.is_paused and '\t1\t' or '\t0\t') .. pause }
  for i = 1, #sku.order do
    local level = sku.levels[sku.order[i]]
    lines[#lines + 1] = 'L\t' .. level.location .. '\t' .. pack_level(level)
    local sources = level.sources or sku.sources[level.location]
    if sources then lines[#lines + 1] = 'X\t' .. level.location .. '\t' .. string.gsub(sources, '\n', '\nY\t') end
  end
  return concat(lines, '\n')
end
