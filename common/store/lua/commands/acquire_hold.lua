-- Take a place among the calls whose answers are held, until its lease ends. A repeat of the same call keeps its place.
-- KEYS: held.  ARGV: call, most, lease.  Answers 1 where the call has a place.
local call, most, lease_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local is_known = redis.call('ZSCORE', KEYS[1], call)
if not is_known and redis.call('ZCARD', KEYS[1]) >= most then return 0 end
redis.call('ZADD', KEYS[1], now + lease_ms, call)
redis.call('PEXPIREAT', KEYS[1], now + lease_ms)
return 1
