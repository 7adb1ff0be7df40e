--[[
tick: the shard's clock may go on, as far as a gateway's monotonic clock has got; and jumps of the server's TIME are taken out.

KEYS[1]  meta         hash   epoch, seq, digest, checkpoint, clock, poison, ask_until, totals, horizon, lease
KEYS[2]  log          stream one entry per call; its name tells the names of all other keys of this generation
KEYS[3]  due          zset   per sku with a hold its earliest deadline
ARGV[1]  nonce        text   echoed, so that a reply can be told from another's
ARGV[2]  epoch        int    the caller's fencing number
ARGV[3]  late_ms      int    not looked at: a late tick does no harm, and after a jump of TIME every call seems late until one has told
ARGV[4]  backlog_max  int    unflushed events from which on nothing new is taken
ARGV[5]  horizon_ms   int    how far the clock may go; 0 = the caller has seen no time yet, `lead_ms` from now
ARGV[6]  lead_ms      int    how far it may be ahead of what was seen
ARGV[7]  seen_shift   int    the shift the caller found, in ms
ARGV[8]  shift        int    what it is to be, where nobody changed it meanwhile
ARGV[9]  retention_ms int    how long request records are promised to live
ARGV[10] asks_on      int    1 = sales live on that are older than what Redis holds: unknown records are asked for, for so long again

Returns  {nonce, status, now_ms, checkpoint, …}, the first that applies
  CLOSED    wrong epoch, or meta gone: nothing read further
  POISONED  an earlier call broke off while writing: nothing read further
  TICKED    {time_ms, shift}: TIME with its shift, and the shift in force
Writes   meta's clock and horizon; after a jump of TIME, or with asks_on, its ask_until.
Cost     O(1)
Flags    allow-oom
]]
local HORIZON, LEAD, SEEN_SHIFT, SHIFT = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local RETENTION_MS, ASKS_ON = tonumber(ARGV[9]), ARGV[10] == '1'
local JUMP_MS_MIN = 1000 -- a smaller change wears a shift off
local refusal = read_meta()
if refusal then return reply(refusal) end
local unseen_ms = 0
if shift == SEEN_SHIFT then
  -- All of the shift counts, not this jump alone: small ones add up, and one that is taken back was one all the same.
  if math.abs(SHIFT - shift) > JUMP_MS_MIN then unseen_ms = math.max(math.abs(SHIFT), math.abs(shift)) end
  time_ms, shift = time_ms - shift + SHIFT, SHIFT
end
local before = call('HMGET', META, 'horizon', 'clock')
local bound, clock = HORIZON == 0 and math.max(time_ms, now) + LEAD or HORIZON, tonumber(before[2])
if HORIZON == 0 then unseen_ms = math.max(unseen_ms, time_ms - clock) end
if before[1] then bound = math.max(bound, tonumber(string.match(before[1], '^%d+'))) end
now = math.max(math.min(time_ms, bound), clock)
now_text = format('%d', now)
if ASKS_ON and now < ask_until_ms then ask_until_ms = math.max(ask_until_ms, now + RETENTION_MS) end
call('HSET', META, 'clock', now_text, 'horizon', shift == 0 and format('%d', bound) or format('%d %d', bound, shift),
  'ask_until', format('%d', asked_until(ask_until_ms, unseen_ms, RETENTION_MS)))
return reply('TICKED', { format('%d', time_ms), format('%d', shift) })
