-- Keep the request of a failed task for a retry, until the record expires.  KEYS: task.  Arguments: request.
local record = load(KEYS[1])
if record and record.status == 'failed' and not record.deleted then set(KEYS[1], { request = args.request, kept = #args.request }) end
