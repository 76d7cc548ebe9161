-- Add to a batch's sums what an attempt has cost that brought no answer, each attempt once.
-- KEYS: task, batch.  ARGV: owner, charge.  Answers now.
local owner, charge = ARGV[1], ARGV[2]
local found = redis.call('HMGET', KEYS[1], 'status', 'charged')
local charged = found[2] or ''
-- Where Redis has lost the record nothing tells a repeat of this call from another attempt: its charge is lost with it.
if found[1] and redis.call('EXISTS', KEYS[2]) == 1 and not string.find(charged, owner, 1, true) then
  set(KEYS[1], { charged = charged .. owner .. ';' })
  increment(KEYS[2], charge)
end
return now
