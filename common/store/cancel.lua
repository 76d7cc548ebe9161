-- Cancel tasks that have not ended.  KEYS: tasks.  ARGV: code?.  Answers an outcome for each.
local code = optional(ARGV[1])

local outcomes = {}
for place, key in ipairs(KEYS) do
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
