-- Extend the slots of a batch that was sent, as far as its messages are still in the queue.
-- KEYS: backlog.  Arguments: batch_id, size, until_ms.
local until_ms = tonumber(args.until_ms)
for index = 0, args.size - 1 do redis.call('ZADD', KEYS[1], 'XX', until_ms, args.batch_id .. '-' .. index) end
if redis.call('PEXPIRETIME', KEYS[1]) < until_ms then redis.call('PEXPIREAT', KEYS[1], until_ms) end
