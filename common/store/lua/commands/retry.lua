-- Take failed tasks for a retry, each once and all or none.
-- KEYS: batch, tasks….  Arguments: known_retry?, the batch's last retry as the caller read it, and batch_id, the new one.
-- Returns 1, or 0 where the record has changed since the caller read it.
local batch_id = args.batch_id
local found = redis.call('HMGET', KEYS[1], 'size', 'retry')
if not found[1] then return 0 end
if found[2] == batch_id then return 1 end
if (found[2] or nil) ~= args.known_retry then return 0 end

for place = 2, #KEYS do
  -- Only a failed task keeps its request.
  local task = redis.call('HMGET', KEYS[place], 'kept', 'retried_as')
  if not task[1] or task[2] then return 0 end
end
for place = 2, #KEYS do redis.call('HSET', KEYS[place], 'retried_as', batch_id .. '-' .. (place - 2)) end
redis.call('HSET', KEYS[1], 'retry', batch_id)
return 1
