-- Take failed tasks for a retry, each once and all or none.
-- KEYS: batch, tasks….  ARGV: the batch's last retry as the caller knows it?, the new batch's id.
-- Answers 1, or 0 where something has changed since the caller looked.
local known, id = optional(ARGV[1]), ARGV[2]
local found = redis.call('HMGET', KEYS[1], 'size', 'retry')
if not found[1] then return 0 end
if found[2] == id then return 1 end
if (found[2] or nil) ~= known then return 0 end

for place = 2, #KEYS do
  -- Only what has failed keeps a request.
  local task = redis.call('HMGET', KEYS[place], 'kept', 'retried_as')
  if not task[1] or task[2] then return 0 end
end
for place = 2, #KEYS do redis.call('HSET', KEYS[place], 'retried_as', id .. '-' .. (place - 2)) end
redis.call('HSET', KEYS[1], 'retry', id)
return 1
