-- Read the requests that failed tasks keep.  KEYS: tasks….  Returns the request of each task, or nil.
local requests = {}
for place, key in ipairs(KEYS) do requests[place] = redis.call('HGET', key, 'request') end
return requests
