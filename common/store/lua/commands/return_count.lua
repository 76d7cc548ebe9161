-- Subtract from a tenant's day the tasks that were counted for a call that was not accepted.
-- KEYS: day, marker of the request.  Arguments: tasks, call. The count of another call stays.
if redis.call('HGET', KEYS[2], 'call') == args.call then
  redis.call('DEL', KEYS[2])
  redis.call('HINCRBY', KEYS[1], 'requests', -tonumber(args.tasks))
end
