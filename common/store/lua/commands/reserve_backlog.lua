-- Reserve slots of a tenant's backlog for a batch, if the tenant then has no more than its share of the queue.
-- KEYS: backlog.  Arguments: batch_id, size, depth of the queue, its cap, share of the tenant in percent, lease_ms.
-- Returns the number of excess tasks; 0 where the batch has its slots.
local size, depth, cap = tonumber(args.size), tonumber(args.depth), tonumber(args.cap)
local share, lease_end = tonumber(args.share), now + args.lease_ms

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
-- A repeat, or another call with the same Idempotency-Key: the batch is sent once.
if redis.call('ZSCORE', KEYS[1], args.batch_id .. '-0') then return 0 end

-- The depth may be some seconds old, and the queue holds at least the tasks of this tenant.
local count = redis.call('ZCARD', KEYS[1])
local own, free = count + size, cap - math.max(depth, count) - size
local excess = math.ceil((own * (100 - share) - free * share) / 100)
if excess > 0 then return excess end

for index = 0, size - 1 do redis.call('ZADD', KEYS[1], 'NX', lease_end, args.batch_id .. '-' .. index) end
if redis.call('PEXPIRETIME', KEYS[1]) < lease_end then redis.call('PEXPIREAT', KEYS[1], lease_end) end
return 0
