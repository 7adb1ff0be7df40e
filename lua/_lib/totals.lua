-- Running totals: the counters of all levels of the shard added up, "held on_hand committed deducted" in meta. A call moves them by
-- what its operations moved, not by what a level then holds: so what else has changed a level shows as a difference.

local CHECKPOINT_EVERY = 1000 -- seqs: the call that crosses a multiple of it tells the totals as an event

-- The text that was taken apart last: held, the other numbers, and these as text. The same text has the same numbers in every call,
-- and the next one mostly begins with what this one wrote. Held stands first, and alone, because most calls move nothing else.
local read_text, read_held, read_on_hand, read_committed, read_deducted, read_others

-- The totals after this call, as text; nil when meta has none.
local function totals_after()
  if totals ~= read_text then
    local held, on_hand, committed, deducted = string.match(totals or '', '^(%-?%d+) (%-?%d+) (%-?%d+) (%-?%d+)$')
    if not held then return nil end
    read_held, read_on_hand = tonumber(held), tonumber(on_hand)
    read_committed, read_deducted = tonumber(committed), tonumber(deducted)
    read_others = ' ' .. on_hand .. ' ' .. committed .. ' ' .. deducted
  end
  read_held = read_held + held_moved
  if on_hand_moved ~= 0 or committed_moved ~= 0 or deducted_moved ~= 0 then
    read_on_hand, read_committed = read_on_hand + on_hand_moved, read_committed + committed_moved
    read_deducted = read_deducted + deducted_moved
    read_others = format(' %d %d %d', read_on_hand, read_committed, read_deducted)
  end
  read_text = format('%d%s', read_held, read_others)
  return read_text
end

-- The event that tells the totals.
local function tell_totals(text)
  local event = begin('shard.checkpoint', '', 'gateway', '', '', '')
  event[2] = 'T\t' .. string.gsub(text, ' ', '\t')
end
