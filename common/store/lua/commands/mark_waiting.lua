-- Write what a queued task waits for.  KEYS: task.  Arguments: waiting_on.
local record = load(KEYS[1])
if record and record.status == 'queued' then redis.call('HSET', KEYS[1], 'waiting_on', args.waiting_on) end
