--[[
open: the shard works under a new epoch, with an event that says so. The data below the log's name are in place before.

KEYS[1]  meta         hash   replaced as a whole
KEYS[2]  log          stream of the generation that is opened
ARGV[1]  nonce        text   echoed, so that a reply can be told from another's
ARGV[2]  epoch        int    the new fencing number
ARGV[3]  seen_epoch   int    the epoch the caller found in meta; 0 = there was no meta
ARGV[4]  seen_digest  text   the digest the caller found in meta; '' = there was no meta
ARGV[5]  seq          int    the last seq of the history that is taken over
ARGV[6]  digest       text   its digest
ARGV[7]  generation   int    of the keys
ARGV[8]  shard        int    number of the shard
ARGV[9]  lineage      text   the replication history of this server
ARGV[10] ask_until    int    until when an unknown request is looked up in the durable store, ms from now; -1 = as meta says, or
                             longer where TIME has gone on by more than anybody saw pass
ARGV[11] how          text   created, adopted or rebuilt
ARGV[12] deployment   text   the deployment this shard belongs to
ARGV[13] totals       text   the running totals at seq: held, on_hand, committed and deducted of all levels, separated by spaces
ARGV[14] expected_ms  int    what the shard's clock says by the caller's monotonic one; 0 = the caller has not seen it yet
ARGV[15] lease_ms     int    how long the shard may work on from now; 0 = without an end
ARGV[16] retention_ms int    how long request records are promised to live

Returns  {nonce, status, now_ms, checkpoint, …}, the first that applies
  OVERTAKEN  {epoch}: meta is not what the caller saw, or has this epoch or a later one
  OPENED     {seq, digest}
Writes   meta, and the opening entry.
Cost     O(1)
Flags    allow-oom
]]
local SEEN_EPOCH, SEEN_DIGEST, SEQ, DIGEST = ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6]
local GENERATION, SHARD, LINEAGE, ASK_UNTIL, HOW, DEPLOYMENT = ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11], ARGV[12]
local TOTALS = ARGV[13]
local EXPECTED, LEASE_MS, RETENTION_MS = tonumber(ARGV[14]), tonumber(ARGV[15]), tonumber(ARGV[16])
local LEAD_MS = 2000 -- as the ticker's
local JUMP_MS_MIN = 1000 -- a smaller difference is the way here, or a clock that is being set right

local meta = call('HMGET', META, 'epoch', 'digest', 'clock', 'ask_until', 'horizon')
if (meta[1] or '0') ~= SEEN_EPOCH or (meta[2] or '') ~= SEEN_DIGEST or tonumber(meta[1] or '0') >= tonumber(EPOCH) then
  return { NONCE, 'OVERTAKEN', '0', '0', meta[1] or '0' }
end
time_ms = read_time(meta[5])
local unseen_ms = EXPECTED > 0 and 0 or time_ms - tonumber(meta[3] or '0')
if EXPECTED > 0 and math.abs(EXPECTED - time_ms) > JUMP_MS_MIN then
  unseen_ms = math.max(math.abs(shift), math.abs(shift + EXPECTED - time_ms))
  time_ms, shift = EXPECTED, shift + EXPECTED - time_ms
end
now = math.max(time_ms, tonumber(meta[3] or '0'))
local ask_until = ASK_UNTIL == '-1' and asked_until(tonumber(meta[4] or '0'), unseen_ms, RETENTION_MS) or now + tonumber(ASK_UNTIL)
local seq = SEQ + 1
local payload = format('E\t%d\t%s\tshard.opened\t%d\t\tgateway\t\t%s\t', seq, EPOCH, now, HOW)
local link = chained(DIGEST, payload)
call('XADD', LOG, format('%d-0', seq), 'e', payload, 'd', link)
call('DEL', META)
call('HSET', META, 'epoch', EPOCH, 'gen', GENERATION, 'seq', format('%d', seq), 'digest', link, 'checkpoint', format('%d', SEQ),
  'clock', format('%d', now), 'totals', TOTALS, 'shard', SHARD, 'lineage', LINEAGE, 'ask_until', format('%d', ask_until),
  'deployment', DEPLOYMENT)
if EXPECTED > 0 or shift ~= 0 then -- who opens it ticks in a moment; until then the clock is bounded, too
  call('HSET', META, 'horizon', shift == 0 and format('%d', now + LEAD_MS) or format('%d %d', now + LEAD_MS, shift))
end
if LEASE_MS > 0 then call('HSET', META, 'lease', format('%d', time_ms + LEASE_MS)) end
return { NONCE, 'OPENED', format('%d', now), format('%d', SEQ), format('%d', seq), link }
