-- Cancel tasks that have not ended.  KEYS: tasks, batch.  ARGV: code?.  Answers an outcome for each.
local code = optional(ARGV[1])
may_leave_to_sender = true
-- A code says that the call was not accepted: nobody has its ids, so nobody is told.
if code then redis.call('HDEL', KEYS[#KEYS], 'hook', 'marks', 'due') end

local outcomes = {}
for place = 1, #KEYS - 1 do
  local key = KEYS[place]
  local record = load(key)
  if record then apply_time(key, record, 'deadline') end
  if not record then
    outcomes[place] = 'missing'
  elseif record.status == 'cancelled' then
    outcomes[place] = 'ended'
  elseif is_terminal(record) then
    outcomes[place] = 'already'
  else
    finish(key, record, 'cancelled', now, 'cancel', { code = code })
    outcomes[place] = 'ended'
  end
end
return outcomes
