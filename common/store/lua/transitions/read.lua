-- Read records, and fail those that are past their deadline.
-- KEYS: tasks…, batch.  Arguments: fields, a JSON list of names.
-- Returns for each task the values of the fields, followed by its expiry, or nil; nil also where it was deleted.
may_leave_to_sender = true
local names = cjson.decode(args.fields)
local records = {}
for place = 1, #KEYS - 1 do
  local key = KEYS[place]
  local record = load(key)
  if record and not record.deleted then
    apply_time(key, record, 'deadline')
    local values = redis.call('HMGET', key, unpack(names))
    values[#names + 1] = redis.call('PEXPIRETIME', key)
    records[place] = values
  else
    records[place] = false
  end
end
return records
