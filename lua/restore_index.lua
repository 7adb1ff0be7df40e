--[[
restore_index: the holds of skus stand in their indexes by deadline, and how many units they have is noted for restore_skus.

KEYS[1]  meta         hash   not read: it tells of the generation before, if it is there
KEYS[2]  log          stream of the new generation, not made yet: its name is that of all other keys
KEYS[3]  due          zset   of the new generation; restore_skus fills it
ARGV[1]  nonce        text   echoed, so that a reply can be told from another's
ARGV[2]  epoch        int    the epoch under which the shard is being opened: what the mark of this generation holds
ARGV[3..] skus        text   '=', 'shop/sku', then deadline, random part, and so on, then 'H<location>', units, and so on

Returns  {nonce, status, …}, the first that applies
  GONE       the mark is not there: this rebuild is over, or Redis was emptied; nothing written
  RESTORED   they are there
Writes   the indexes of skus; fields 'H<location>' of the skus. Safe to repeat: where every hold of a sku is there, its units count already.
Cost     O(log holds of the sku) per hold
Flags    none
]]
if call('GET', BASE .. 'restoring') ~= EPOCH then return { NONCE, 'GONE' } end
local name, first, added
for i = 3, #ARGV, 2 do
  local letter = string.byte(ARGV[i])
  if letter == 61 then -- =
    name, first, added = ARGV[i + 1], i + 2, nil
  elseif letter == 72 then -- H: what stands before the first of them are the sku's holds
    if not added then
      added = 0
      for from = first, i - 1, 1000 do
        added = added + call('ZADD', BASE .. 'd:' .. name, unpack(ARGV, from, math.min(from + 999, i - 1)))
      end
    end
    if added > 0 then call('HINCRBY', BASE .. 's:' .. name, ARGV[i], ARGV[i + 1]) end
  end
end
return { NONCE, 'RESTORED' }
