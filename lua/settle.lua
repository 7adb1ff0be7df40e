--[[
settle: the durable store has everything up to a checkpoint; the log before it is dropped, and what is settled gets a life.

KEYS[1]  meta         hash   epoch, seq, digest, checkpoint, clock, poison, ask_until, totals, horizon, lease
KEYS[2]  log          stream one entry per call; its name tells the names of all other keys of this generation
KEYS[3]  due          zset   per sku with a hold its earliest deadline
ARGV[1]  nonce        text   echoed, so that a reply can be told from another's
ARGV[2]  epoch        int    the caller's fencing number
ARGV[3]  late_ms      int    by Redis' clock: a call that runs later changes nothing; 0 = none
ARGV[4]  backlog_max  int    unflushed events from which on nothing new is taken
ARGV[5]  committed    int    the seq the durable store has committed
ARGV[6]  idle_ttl_ms  int    life of an untouched level without holds
ARGV[7]  ended_ttl_ms int    life of a reservation that ended, or is confirmed
ARGV[8]  record_ms    int    life of a request record from its reservation's end
ARGV[9..] names       text   "s:" shop/sku, "r:" id of what the committed events touched; "q:" a record without reservation

Returns  {nonce, status, now_ms, checkpoint, …}, the first that applies
  CLOSED      wrong epoch, or meta gone: nothing read further
  POISONED    an earlier call broke off while writing: nothing read further
  LATE        the caller's time is over: nothing changed
  LAPSED      no gateway has found the durable store for the lease: nothing changed
  SETTLED     {trimmed}: entries dropped from the log
Writes   meta's checkpoint, key lives, the log's length.
Cost     O(names + entries dropped)
Flags    allow-oom
]]
local COMMITTED, IDLE_MS, ENDED_MS, RECORD_MS = tonumber(ARGV[5]), ARGV[6], ARGV[7], tonumber(ARGV[8])

-- A sku lives on while any level has units held or a change that is not committed.
local function settle_sku(name)
  local sku = sku_of(name)
  if not sku or sku.has_ttl or tonumber(string.match(sku.pause, ' (%d+)')) > COMMITTED then return end
  for _, level in pairs(sku.levels) do
    if level.held ~= 0 or tonumber(string.match(level.changed, ' (%d+) ')) > COMMITTED then return end
  end
  sku.has_ttl = true
  call('HSET', BASE .. 's:' .. name, '*', pack_head(sku))
  call('PEXPIRE', BASE .. 's:' .. name, IDLE_MS)
end

local function settle_reservation(id)
  local r = reservation_of(id)
  if not r or r.state == 'h' or tonumber(r.seq) > COMMITTED then return end
  call('PEXPIRE', BASE .. 'r:' .. id, ENDED_MS)
  if r.request ~= '' and r.state ~= 'c' then
    call('PEXPIRE', BASE .. 'q:' .. r.request, format('%d', math.max(tonumber(r.ended) + RECORD_MS - now, 1)))
  end
end

-- A record without a reservation, as an adjustment leaves it, is remembered from its own commit on; the others go with theirs.
local function settle_request(name)
  local record = request_of(name, true)
  local key = BASE .. 'q:' .. name
  if record and record.operation == 'adjust' and tonumber(record.seq) <= COMMITTED and call('PTTL', key) == -1 then
    call('PEXPIRE', key, format('%d', RECORD_MS))
  end
end

local refusal = enter()
if refusal then return reply(refusal) end
if COMMITTED > checkpoint then
  call('HSET', META, 'checkpoint', format('%d', COMMITTED))
  checkpoint = COMMITTED
end
local trimmed = call('XTRIM', LOG, 'MINID', format('%d-0', COMMITTED))
for i = 9, #ARGV do
  local kind, name = string.match(ARGV[i], '^(%a):(.*)$')
  if kind == 's' then settle_sku(name)
  elseif kind == 'r' then settle_reservation(name)
  else settle_request(name) end
end
return reply('SETTLED', { format('%d', trimmed) })
