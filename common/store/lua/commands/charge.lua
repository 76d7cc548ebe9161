-- Add the charge of an attempt without an answer to the sums of its batch, each attempt once.
-- KEYS: task, batch.  Arguments: owner, charge.  Returns now.
local found = redis.call('HMGET', KEYS[1], 'status', 'charged')
local charged = found[2] or ''
-- Where Redis has lost the record, a repeat of this call looks like another attempt: its charge is lost with the record.
if found[1] and redis.call('EXISTS', KEYS[2]) == 1 and not string.find(charged, args.owner, 1, true) then
  set(KEYS[1], { charged = charged .. args.owner .. ';' })
  increment(KEYS[2], args.charge)
end
return now
