--[[
restore_skus: skus whose holds are restored have their levels and a place in the shard's index, if the levels count what is held.

KEYS[1]  meta         hash   not read: it tells of the generation before, if it is there
KEYS[2]  log          stream of the new generation, not made yet: its name is that of all other keys
KEYS[3]  due          zset   the earliest deadline of each sku
ARGV[1]  nonce        text   echoed, so that a reply can be told from another's
ARGV[2]  epoch        int    the epoch under which the shard is being opened: what the mark of this generation holds
ARGV[3..] skus        text   '=', 'shop/sku', then the fields of its hash and their values, '*' first, without a deadline and a life

Returns  {nonce, status, …}, the first that applies
  GONE       the mark is not there: it is over with this rebuilding, or Redis was emptied; nothing written
  DIFFERENT  {shop/sku, location, held, units}: the level counts other units as held than its holds have; nothing written
  RESTORED   {units, skus}: held by all levels of the call; how many skus have holds and were written
Writes   skus with holds, in the place of what restore_index noted there, and the due index. Safe to repeat.
Cost     O(levels)
Flags    none
]]
if call('GET', BASE .. 'restoring') ~= EPOCH then return { NONCE, 'GONE' } end

-- What is told: per sku its name, its fields and the held units by location; judged before anything is written.
local told, units = {}, 0
for i = 3, #ARGV, 2 do
  local field, value = ARGV[i], ARGV[i + 1]
  if field == '=' then
    told[#told + 1] = { name = value, fields = {}, held = {} }
  else
    local sku = told[#told]
    sku.fields[#sku.fields + 1] = field
    sku.fields[#sku.fields + 1] = value
    if string.byte(field) == 76 then -- L
      local held = tonumber(string.match(value, '^%S+ (%S+)'))
      sku.held[string.sub(field, 2)] = held
      units = units + held
    end
  end
end
for i = 1, #told do
  local sku = told[i]
  local key = BASE .. 's:' .. sku.name
  if call('HEXISTS', key, '*') == 0 then -- else the call is made again
    local noted, sums = call('HGETALL', key), {}
    for n = 1, #noted, 2 do sums[string.sub(noted[n], 2)] = tonumber(noted[n + 1]) end
    for location, held in pairs(sku.held) do
      if held ~= (sums[location] or 0) then
        return { NONCE, 'DIFFERENT', sku.name, location, format('%d', held), format('%d', sums[location] or 0) }
      end
      sums[location] = nil
    end
    local location, count = next(sums)
    if location then return { NONCE, 'DIFFERENT', sku.name, location, '0', format('%d', count) } end
  end
end
local written = 0
for i = 1, #told do
  local sku = told[i]
  local first = call('ZRANGE', BASE .. 'd:' .. sku.name, 0, 0, 'WITHSCORES')
  if first[2] then -- else units were only sold: it is loaded when it is wanted
    written = written + 1
    local deadline = format('%d', tonumber(first[2]))
    sku.fields[2] = deadline .. string.sub(sku.fields[2], 2)
    call('DEL', BASE .. 's:' .. sku.name)
    set_fields(BASE .. 's:' .. sku.name, sku.fields)
    call('ZADD', DUE, deadline, sku.name)
  end
end
return { NONCE, 'RESTORED', format('%d', units), format('%d', written) }
