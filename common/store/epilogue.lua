-- Answer what the transition says and, where an event is due that is not on its queue yet, {hook, due, marks}.
-- Who has a task's message is always told, for only that brings the event if all others die. Callers who only look or
-- cancel are told at once, or when somebody else has had the time to send it.
local sending_ms = 10000
local answer = transition()
local batch = KEYS[#KEYS]
local due = tonumber(redis.call('HGET', batch, 'due'))
if not due or (is_patient and not is_newly_due and now < due + sending_ms) then return { answer or false } end
return { answer or false, redis.call('HMGET', batch, 'hook', 'due', 'marks') }
