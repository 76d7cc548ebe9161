-- Keep the request of a failed task, so that it can be retried; gone with the record.  KEYS: task.  ARGV: request.
local record = load(KEYS[1])
if record and record.status == 'failed' then set(KEYS[1], { request = ARGV[1], kept = #ARGV[1] }) end
