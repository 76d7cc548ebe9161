-- Read a batch.  KEYS: batch.  Answers {size, created, deadline, metadata?, expiry} or nil.
local values = redis.call('HMGET', KEYS[1], 'size', 'created', 'deadline', 'metadata')
if not values[1] then return false end
values[5] = redis.call('PEXPIRETIME', KEYS[1])
return values
