-- Read what failed tasks have kept of their messages.  KEYS: tasks.  Answers the request of each, or nil.
local requests = {}
for place, key in ipairs(KEYS) do requests[place] = redis.call('HGET', key, 'request') end
return requests
