--[[
shut: nobody works under this epoch any more, and nothing else changes. What the shard has stays for whoever opens it again.

KEYS[1]  meta         hash   epoch
KEYS[2]  log          stream
KEYS[3]  due          zset
ARGV[1]  nonce        text   echoed, so that a reply can be told from another's
ARGV[2]  epoch        int    the one that ends
ARGV[3]  late_ms      int    not judged: it is never too late for this
ARGV[4]  backlog_max  int    not judged

Returns  {nonce, status, now_ms, checkpoint, …}, the first that applies
  CLOSED  {}: meta has another epoch, or has none; nothing changed
  SHUT    {}: each call under this epoch is answered CLOSED from now on
Writes   meta: epoch 0, which no caller has, and `shut`, the epoch that ended.
Cost     O(1)
Flags    allow-oom
]]
if call('HGET', META, 'epoch') ~= EPOCH then return reply('CLOSED') end
call('HSET', META, 'epoch', '0', 'shut', EPOCH)
return reply('SHUT')
