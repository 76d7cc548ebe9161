-- Mark a batch as answered with 202. KEYS: batch.
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], 'accepted', 1) end
