-- Levels: the counters of one sku at one location, read from a field of its hash, and what events tell of them.
-- A hold changes two of the six numbers. To write a number costs as much as fifteen steps of Lua, so the texts around those two are kept.

local SMALL = {} -- the numbers that most counters are, by their text: looking one up costs a fifteenth of reading it
for number = 0, 20 do SMALL[number .. ''] = number end

local function number_of(text)
  return SMALL[text] or tonumber(text)
end

-- What stands before and behind `held`, in the field and in an event's row, and the texts it is made of.
local function keep_texts(level, on_hand, committed, deducted, safety)
  level.on_hand_text, level.committed_text, level.deducted_text, level.safety_text = on_hand, committed, deducted, safety
  level.field_front, level.field_back = on_hand .. ' ', ' ' .. committed .. ' ' .. deducted .. ' ' .. safety .. ' '
  level.row_front = 'L\t' .. level.sku.plain .. '\t' .. level.location .. '\t' .. on_hand .. '\t'
  level.row_back = '\t' .. committed .. '\t' .. deducted .. '\t' .. safety .. '\t'
end

-- The level that a field tells. `changed` is epoch, seq and time of its last change, which only `settle` looks at. All fields stand
-- here from the beginning: a table that outgrows its size is built anew.
local function read_level(sku, location, text)
  local on_hand, held, committed, deducted, safety, version, changed =
    string.match(text, '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (.+)$')
  local level = {
    sku = sku, location = location, on_hand = number_of(on_hand), held = number_of(held), committed = number_of(committed),
    deducted = number_of(deducted), safety = number_of(safety), version = number_of(version), changed = changed,
    taken = 0, user = false, is_dirty = false, held_text = held, version_text = version,
    field_front = false, field_back = false, row_front = false, row_back = false,
    on_hand_text = false, committed_text = false, deducted_text = false, safety_text = false,
  }
  keep_texts(level, on_hand, committed, deducted, safety)
  return level
end

local function pack_level(level)
  return level.field_front .. level.held_text .. level.field_back .. level.version_text .. ' ' .. level.changed
end

local function available(level)
  return level.on_hand - level.held - level.committed - level.deducted - level.safety - level.taken
end

-- Moves held units alone, as nearly every event does; `held_text` is the difference as text. Returns the row that tells it.
local function move_held(level, held, held_text)
  local held_after, version = level.held + held, level.version + 1
  local text, version_text = format('%d', held_after), format('%d', version)
  held_moved = held_moved + held
  level.held, level.held_text, level.version, level.version_text, level.changed = held_after, text, version, version_text, changed
  level.is_dirty = true
  return level.row_front .. text .. level.row_back .. version_text .. '\t0\t' .. held_text .. '\t0\t0\t0'
end

-- Moves a level's counters as part of an event, and tells the event.
local function move(event, level, on_hand, held, committed, deducted, safety)
  level.on_hand, level.held, level.committed = level.on_hand + on_hand, level.held + held, level.committed + committed
  level.deducted, level.safety, level.version = level.deducted + deducted, level.safety + safety, level.version + 1
  on_hand_moved, held_moved = on_hand_moved + on_hand, held_moved + held
  committed_moved, deducted_moved = committed_moved + committed, deducted_moved + deducted
  keep_texts(level, format('%d', level.on_hand), format('%d', level.committed), format('%d', level.deducted), format('%d', level.safety))
  level.held_text, level.version_text, level.changed = format('%d', level.held), format('%d', level.version), changed
  level.is_dirty, level.sku.is_dirty = true, true
  event[#event + 1] = level.row_front .. level.held_text .. level.row_back .. level.version_text
    .. format('\t%d\t%d\t%d\t%d\t%d', on_hand, held, committed, deducted, safety)
end

local function signed(sign, text)
  if sign == 0 then return '0' end
  return sign > 0 and text or '-' .. text
end

-- Moves the units of a line as part of an event: each counter by -1, 0 or 1 times them. Only what has changed is written anew.
local function move_units(event, level, line, on_hand, held, committed)
  local units, text = line.quantity, line.quantity_text
  if on_hand ~= 0 then
    level.on_hand, on_hand_moved = level.on_hand + on_hand * units, on_hand_moved + on_hand * units
    level.on_hand_text = format('%d', level.on_hand)
  end
  if held ~= 0 then
    level.held, held_moved = level.held + held * units, held_moved + held * units
    level.held_text = format('%d', level.held)
  end
  if committed ~= 0 then
    level.committed, committed_moved = level.committed + committed * units, committed_moved + committed * units
    level.committed_text = format('%d', level.committed)
  end
  keep_texts(level, level.on_hand_text, level.committed_text, level.deducted_text, level.safety_text)
  level.version, level.changed, level.is_dirty, level.sku.is_dirty = level.version + 1, changed, true, true
  level.version_text = format('%d', level.version)
  event[#event + 1] = level.row_front .. level.held_text .. level.row_back .. level.version_text .. '\t' .. signed(on_hand, text) .. '\t'
    .. signed(held, text) .. '\t' .. signed(committed, text) .. '\t0\t0'
end
