-- Read records, failing those that are past their deadline.  KEYS: tasks, batch.  ARGV: the names of the fields.
-- Answers for each key {fields…, expiry} or nil.
may_leave_to_sender = true
local records = {}
for place = 1, #KEYS - 1 do
  local key = KEYS[place]
  local record = load(key)
  if record then
    apply_time(key, record, 'deadline')
    local values = redis.call('HMGET', key, unpack(ARGV))
    values[#ARGV + 1] = redis.call('PEXPIRETIME', key)
    records[place] = values
  else
    records[place] = false
  end
end
return records
