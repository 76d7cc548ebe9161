-- Mark the event of a batch as put on its queue.  KEYS: batch.
if redis.call('HDEL', KEYS[1], 'due') == 1 then redis.call('HSET', KEYS[1], 'announced', 1) end
