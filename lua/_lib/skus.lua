-- Skus: all levels of one sku in one hash, and the index of its holds by deadline.
-- Fields: '*' = "next_due ttl paused epoch seq<TAB>reason"; 'L<location>' = the counters; 'X<location>' = its sources.

local function parse_level(location, text)
  local on_hand, held, committed, deducted, safety, version, epoch, at_seq, at =
    string.match(text, '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$')
  return {
    location = location, on_hand = tonumber(on_hand), held = tonumber(held), committed = tonumber(committed),
    deducted = tonumber(deducted), safety = tonumber(safety), version = tonumber(version),
    epoch = epoch, seq = tonumber(at_seq), at = at, taken = 0,
  }
end

local function pack_level(level)
  return format('%d %d %d %d %d %d %s %d %s', level.on_hand, level.held, level.committed, level.deducted, level.safety,
    level.version, level.epoch, level.seq, level.at)
end

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

-- The sku 'shop/sku', read once per call; nil when it is not in Redis, and then it is asked for.
local function sku_of(name)
  local sku = skus[name]
  if sku then return sku end
  local flat = call('HGETALL', BASE .. 's:' .. name)
  if #flat == 0 then return need('s:' .. name) end
  sku = { name = name, plain = string.match(name, '^[^/]*/(.*)$'), levels = {}, order = {}, sources = {}, added = {}, removed = {} }
  for i = 1, #flat, 2 do
    local letter = string.byte(flat[i])
    if letter == 76 then -- L
      local location = string.sub(flat[i], 2)
      sku.levels[location] = parse_level(location, flat[i + 1])
      sku.order[#sku.order + 1] = location
    elseif letter == 88 then -- X
      sku.sources[string.sub(flat[i], 2)] = flat[i + 1]
    else
      local next_due, ttl, paused, epoch, at_seq, reason =
        string.match(flat[i + 1], '^(%d+) (%d) (%d) (%d+) (%d+)\t(.*)$')
      sku.next_due, sku.has_ttl, sku.is_paused = tonumber(next_due), ttl == '1', paused == '1'
      sku.epoch, sku.seq, sku.reason = epoch, at_seq, reason
    end
  end
  if #sku.order > 1 then sort_names(sku.order) end
  skus[name] = sku
  sku_order[#sku_order + 1] = sku
  return sku
end

local function available(level)
  return level.on_hand - level.held - level.committed - level.deducted - level.safety - level.taken
end

-- Moves a level's counters as part of an event, and tells the event.
local function move(event, sku, level, on_hand, held, committed, deducted, safety)
  level.on_hand, level.held, level.committed = level.on_hand + on_hand, level.held + held, level.committed + committed
  level.deducted, level.safety = level.deducted + deducted, level.safety + safety
  on_hand_moved, held_moved = on_hand_moved + on_hand, held_moved + held
  committed_moved, deducted_moved = committed_moved + committed, deducted_moved + deducted
  level.version, level.epoch, level.seq, level.at = level.version + 1, EPOCH, seq, now_text
  level.is_dirty, sku.is_dirty = true, true
  event[#event + 1] = format('L\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d', sku.plain, level.location,
    level.on_hand, level.held, level.committed, level.deducted, level.safety, level.version,
    on_hand, held, committed, deducted, safety)
end

local function due_add(sku, id, deadline)
  sku.added[id], sku.removed[id], sku.is_dirty = deadline, nil, true
end

local function due_remove(sku, id, deadline)
  sku.removed[id], sku.added[id], sku.is_dirty = true, nil, true
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

local function write_sku(sku)
  if not sku.is_dirty and not sku.is_due_stale then return end
  local key, due_key = BASE .. 's:' .. sku.name, BASE .. 'd:' .. sku.name
  local gone, come = { 'ZREM', due_key }, { 'ZADD', due_key }
  for id in pairs(sku.removed) do gone[#gone + 1] = id end
  for id, deadline in pairs(sku.added) do
    come[#come + 1] = format('%d', deadline)
    come[#come + 1] = id
  end
  if #gone > 2 then call(unpack(gone)) end
  if #come > 2 then call(unpack(come)) end
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
    fields[#fields + 1] = format('%d %d %d %s %s\t%s', sku.next_due, sku.has_ttl and 1 or 0, sku.is_paused and 1 or 0,
      sku.epoch, sku.seq, sku.reason)
  end
  set_fields(key, fields)
end

-- A sku as text for the answer: '*' line, then an L line per level, then an X line per level's sources.
local function tell_sku(sku)
  local lines = { format('*\t%s\t%d\t%s\t%s\t%s', sku.name, sku.is_paused and 1 or 0, sku.epoch, sku.seq, sku.reason) }
  for i = 1, #sku.order do
    local level = sku.levels[sku.order[i]]
    lines[#lines + 1] = 'L\t' .. level.location .. '\t' .. pack_level(level)
    local sources = level.sources or sku.sources[level.location]
    if sources then lines[#lines + 1] = 'X\t' .. level.location .. '\t' .. string.gsub(sources, '\n', '\nY\t') end
  end
  return concat(lines, '\n')
end
