--[[
restore_holds: a page of open holds is under the names of a generation that nobody reads yet.

KEYS[1]  meta         hash   not read: it tells of the generation before, if it is there
KEYS[2]  log          stream of the new generation, not made yet: its name is that of all other keys
KEYS[3]  due          zset   of the new generation; restore_skus fills it
ARGV[1]  nonce        text   echoed, so that a reply can be told from another's
ARGV[2]  epoch        int    the epoch under which the shard is being opened: what the mark of this generation holds
ARGV[3..] holds       text   random part, packed reservation, and so on

Returns  {nonce, status, …}, the first that applies
  GONE       the mark is not there: this rebuild is over, or Redis was emptied; nothing written
  RESTORED   they are there
Writes   reservations. Safe to repeat.
Cost     O(holds)
Flags    none
]]
if call('GET', BASE .. 'restoring') ~= EPOCH then return { NONCE, 'GONE' } end
local pairs_of, count = {}, 0
for i = 3, #ARGV, 2 do
  pairs_of[count + 1], pairs_of[count + 2] = BASE .. 'r:' .. ARGV[i], ARGV[i + 1]
  count = count + 2
end
for i = 1, count, 1000 do call('MSET', unpack(pairs_of, i, math.min(i + 999, count))) end
return { NONCE, 'RESTORED' }
