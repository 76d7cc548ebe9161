-- Take back from a tenant's day the tasks that were counted for a call that was not accepted.
-- KEYS: day, marker of the request.  ARGV: tasks, the call that counted them: what another has counted stays.
if redis.call('HGET', KEYS[2], 'call') == ARGV[2] then
  redis.call('DEL', KEYS[2])
  redis.call('HINCRBY', KEYS[1], 'requests', -tonumber(ARGV[1]))
end
