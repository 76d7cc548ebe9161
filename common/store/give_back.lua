-- Take back from a tenant's day the tasks that were counted for a call that was not accepted.
-- KEYS: day, marker.  ARGV: tasks.
if redis.call('DEL', KEYS[2]) == 1 then redis.call('HINCRBY', KEYS[1], 'requests', -tonumber(ARGV[1])) end
