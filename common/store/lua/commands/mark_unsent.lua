-- Mark a batch as not sent, so that a repeat of its request sends it at once.
-- KEYS: batch.  Arguments: sending_until_ms, the end of the sending lease that create.lua returned: the fence.
if redis.call('HGET', KEYS[1], 'sending') == args.sending_until_ms then redis.call('HDEL', KEYS[1], 'sending') end
