-- Return the answer of a transition and, where an event is due that is not on its queue yet, {hook, due, marks}.
-- A caller that holds a message of the batch always gets the event: if all others fail, only a redelivery sends it. A
-- caller that only reads or cancels gets an event that became due in its own call, or after the sender had
-- `sending_ms` to send it.
local sending_ms = 10000
local answer = transition()
local batch = KEYS[#KEYS]
local due = tonumber(redis.call('HGET', batch, 'due'))
if not due or (may_leave_to_sender and not is_newly_due and now < due + sending_ms) then return { answer or false } end
return { answer or false, redis.call('HMGET', batch, 'hook', 'due', 'marks') }
