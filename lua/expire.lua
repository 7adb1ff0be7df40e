--[[
expire: the sweep. Holds past their deadline go back to stock, those of the earliest skus first, a bounded number per call.

KEYS[1]  meta         hash   epoch, seq, digest, checkpoint, clock, poison, ask_until, totals, horizon, lease
KEYS[2]  log          stream one entry per call; its name tells the names of all other keys of this generation
KEYS[3]  due          zset   per sku with a hold its earliest deadline
ARGV[1]  nonce        text   echoed, so that a reply can be told from another's
ARGV[2]  epoch        int    the caller's fencing number
ARGV[3]  late_ms      int    by Redis' clock: a call that runs later changes nothing; 0 = none
ARGV[4]  backlog_max  int    unflushed events from which on nothing new is taken
ARGV[5]  holds_max    int    holds taken back in one call; fewer when they have many lines
ARGV[6..] passed      text   random parts of due holds that are in neither store: left as they are

Returns  {nonce, status, now_ms, checkpoint, …}, the first that applies
  CLOSED      wrong epoch, or meta or log gone: nothing read further
  POISONED    an earlier call broke off while writing: nothing read further
  LATE        the caller's time is over: nothing changed
  LAPSED      no gateway has found the durable store for the lease: nothing changed
  NOT_LOADED  {name...} of what is not in Redis: load it and repeat; nothing changed
  BACKLOG     even the spare of the backlog is used up: nothing changed
  SWEPT       {holds, lateness_ms, next_due_ms}: next_due_ms 0 = no hold is open
Writes   reservations, levels, due indexes, one entry; nothing when nothing is due.
Cost     O(holds taken back * log holds of the sku)
Flags    allow-oom
]]
local SKUS_MAX = 2000 -- skus looked at in one call, where holds that are passed over stand before the others
due_max = tonumber(ARGV[5])
for i = 6, #ARGV do
  passed, passed_count = passed or {}, passed_count + 1
  passed[ARGV[i]] = true
end
local refusal = enter()
if refusal then return reply(refusal) end
if is_backlog_full(BACKLOG_SPARE) then return reply('BACKLOG') end
local gone, looked_at = {}, 0
repeat
  local names = call('ZRANGEBYSCORE', DUE, '-inf', now_text, 'LIMIT', looked_at, due_max)
  for i = 1, #names do
    if is_more_due then break end
    if call('EXISTS', BASE .. 's:' .. names[i]) == 0 then
      gone[#gone + 1] = names[i]
    else
      collect(sku_of(names[i]))
    end
  end
  looked_at = looked_at + #names
until not passed or #names == 0 or #names < due_max or expired > 0 or looked_at >= SKUS_MAX
if #missing > 0 then return reply('NOT_LOADED', missing) end
local failure = commit()
if failure then return failure end
for i = 1, #gone do call('ZREM', DUE, gone[i]) end
local first = call('ZRANGE', DUE, 0, 0, 'WITHSCORES')
return reply('SWEPT', { format('%d', expired), format('%d', lateness_ms_max), first[2] or '0' })
