-- Acquire a slot for a call whose answer is held, until the lease ends. A repeat of the same call keeps its slot.
-- KEYS: held.  Arguments: call, limit, lease_ms.  Returns 1 where the call has a slot, else 0.
local call, lease_end = args.call, now + args.lease_ms

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local is_known = redis.call('ZSCORE', KEYS[1], call)
if not is_known and redis.call('ZCARD', KEYS[1]) >= tonumber(args.limit) then return 0 end
redis.call('ZADD', KEYS[1], lease_end, call)
redis.call('PEXPIREAT', KEYS[1], lease_end)
return 1
