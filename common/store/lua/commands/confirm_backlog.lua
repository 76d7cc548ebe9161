-- Keep the places of a batch that was sent, as far as its messages are still in the queue.
-- KEYS: backlog.  ARGV: batch, size, until when.
local batch, size, kept_until = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
for index = 0, size - 1 do redis.call('ZADD', KEYS[1], 'XX', kept_until, batch .. '-' .. index) end
if redis.call('PEXPIRETIME', KEYS[1]) < kept_until then redis.call('PEXPIREAT', KEYS[1], kept_until) end
