-- Cancel tasks that have not ended.  KEYS: tasks…, batch.  Arguments: code?.  Returns an outcome for each task.
may_leave_to_sender = true
-- A code means that the request was not accepted: its caller has no ID of the batch and gets no event.
if args.code then redis.call('HDEL', KEYS[#KEYS], 'webhook', 'marks', 'due') end

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
    finish(key, record, 'cancelled', now, 'cancel', { code = args.code })
    outcomes[place] = 'ended'
  end
end
return outcomes
