-- Mark a batch as not sent, so that a repeat of its request sends it at once.
-- KEYS: batch.  ARGV: the end of the sending lease, as create.lua answered it: the fence.
if redis.call('HGET', KEYS[1], 'sending') == ARGV[1] then redis.call('HDEL', KEYS[1], 'sending') end
