-- The unit of work: operations change tables only, and `commit` writes them all, the log first.

local function write_all()
  write_reservations()
  for i = 1, #sku_order do write_sku(sku_order[i]) end
  for i = 1, #request_order do write_request(request_order[i]) end
end

-- Writes the unit of work: log entry first, then everything else. Returns nil, or an error with nothing written, or POISONED.
local function commit()
  if #events == 0 then
    if call('EXISTS', LOG) == 0 then return reply('CLOSED') end
    for i = 1, #sku_order do write_sku(sku_order[i]) end -- only the due index may have become stale
    return nil
  end
  local totals_text = totals_after()
  if not totals_text then return reply('CLOSED') end -- somebody took them away: whoever opens the shard again brings them
  if seq % CHECKPOINT_EVERY < #events then tell_totals(totals_text) end
  for i = 1, #events do events[i] = concat(events[i], '\n') end
  local payload = #events == 1 and events[1] or concat(events, '\n')
  local link = chained(digest, payload)
  local id = redis.pcall('XADD', LOG, 'NOMKSTREAM', seq_text .. '-0', 'e', payload, 'd', link)
  if not id then return reply('CLOSED') end -- the log is gone: nothing was written
  if type(id) == 'table' and id.err then
    if string.find(tostring(id.err), 'ID specified', 1, true) then -- fakeredis hands out an object where servers hand out text
      call('HSET', META, 'poison', 'log ahead of meta')
      return reply('POISONED')
    end
    return id
  end
  local is_written, problem = pcall(write_all)
  if is_written then
    is_written, problem = pcall(call, 'HSET', META, 'seq', seq_text, 'digest', link, 'clock', now_text, 'totals', totals_text)
  end
  if is_written then return nil end
  redis.pcall('HSET', META, 'poison', type(problem) == 'table' and tostring(problem.err) or tostring(problem))
  return reply('POISONED')
end

-- Runs operations as one unit of work: all are read first, then judged and applied in order, then written at once.
-- Each operation is {touch, apply, …}. Returns the results in order, or nil and the reply that ends the call.
local function run(all)
  local refusal = enter()
  if refusal then return nil, reply(refusal) end
  operations = all
  for i = 1, #operations do
    operations[i].touch(operations[i])
    if is_more_due then break end
  end
  if #missing > 0 then return nil, reply('NOT_LOADED', missing) end
  if is_more_due then return nil, commit() or reply('MORE_DUE') end
  local results = {}
  for i = 1, #operations do results[i] = operations[i].apply(operations[i]) end
  local failure = commit()
  if failure then return nil, failure end
  return results
end

-- Runs operations that know nothing of one another: one that lacks something answers NOT_LOADED for itself alone.
local function run_independent(all)
  local refusal = enter()
  if refusal then return nil, reply(refusal) end
  operations = all
  local results = {}
  for i = 1, #operations do
    missing, is_missing = {}, {}
    operations[i].touch(operations[i])
    if #missing > 0 then
      table.insert(missing, 1, 'NOT_LOADED')
      results[i] = missing
    end
    if is_more_due then break end
  end
  for i = 1, #operations do
    results[i] = results[i] or is_more_due and { 'MORE_DUE' } or operations[i].apply(operations[i])
  end
  local failure = commit()
  if failure then return nil, failure end
  return results
end

local function run_one(operation)
  local results, ending = run({ operation })
  if ending then return ending end
  local result = results[1]
  return reply(table.remove(result, 1), result)
end
