-- Reserve places in a tenant's backlog for a batch, if the tenant then has no more than its share of the queue.
-- KEYS: backlog.  ARGV: batch, size, depth of the queue, its cap, the tenant's share in percent, lease.
-- Answers by how many tasks there are too many; 0 where the batch has its places.
local batch, size, depth, cap = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local share, lease_end = tonumber(ARGV[5]), now + tonumber(ARGV[6])

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
-- A repeat, or another call with the same Idempotency-Key: the batch is sent once.
if redis.call('ZSCORE', KEYS[1], batch .. '-0') then return 0 end

-- The depth may be some seconds old, and the queue holds at least what this tenant has in it.
local count = redis.call('ZCARD', KEYS[1])
local own, free = count + size, cap - math.max(depth, count) - size
local excess = math.ceil((own * (100 - share) - free * share) / 100)
if excess > 0 then return excess end

for index = 0, size - 1 do redis.call('ZADD', KEYS[1], 'NX', lease_end, batch .. '-' .. index) end
if redis.call('PEXPIRETIME', KEYS[1]) < lease_end then redis.call('PEXPIREAT', KEYS[1], lease_end) end
return 0
