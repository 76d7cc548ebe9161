-- Keep the input of a response with its task, until the record expires.  KEYS: task.  Arguments: input.
-- A task that ended is left alone too: its record is there, and a deleted one keeps nothing.
local record = load(KEYS[1])
if record and not record.deleted then set(KEYS[1], { input = args.input }) end
