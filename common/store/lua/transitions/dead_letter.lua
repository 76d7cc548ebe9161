-- Fail a task whose message is in the dead-letter queue, unless a worker may be alive.
-- KEYS: task, batch.  Arguments: header, code.  Returns the outcome.
local by = 'dead_letter'

local record = load_or_rebuild()
if not record then return 'already' end
apply_time(KEYS[1], record, 'deadline')
if record.ended_by == by then return 'ended' end
if is_terminal(record) then return 'already' end
if is_live(record) then return 'lost' end

finish(KEYS[1], record, 'failed', now, by, { code = args.code })
return 'ended'
