-- Return the answer of a transition and, where an event is due that is not on its queue yet, its `webhook`, `due` and
-- `marks` as name/value pairs.
-- A caller that holds a message of the batch always gets the event: if all others fail, only a redelivery sends it. A
-- caller that only reads or cancels gets an event that became due in its own call, or one that the sender did not send
-- within `sending_ms`.
local sending_ms = 10000
local answer = transition()
local batch = KEYS[#KEYS]
local due = tonumber(redis.call('HGET', batch, 'due'))
if not due or (may_leave_to_sender and not is_newly_due and now < due + sending_ms) then return { answer or false } end
local event = redis.call('HMGET', batch, 'webhook', 'marks')
return { answer or false, { 'webhook', event[1], 'due', due, 'marks', event[2] } }
