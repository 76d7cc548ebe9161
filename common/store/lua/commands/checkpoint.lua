-- Keep a finished step of a workflow, and add its charge to the sums of the batch, once.
-- KEYS: task, steps, batch.  Arguments: owner, deadline_ms, name, step, charge.
-- Returns {0 where another owner has the task, else 1, now}. Where Redis has lost the record, no other owner has it.
local record = load(KEYS[1])
if record and record.owner ~= args.owner then return { 0, now } end
local is_new = redis.call('HSET', KEYS[2], args.name, args.step) == 1
redis.call('PEXPIREAT', KEYS[2], args.deadline_ms)
-- Attempts limit the cost of one step. The next step has its own, and this attempt is its first.
if record then set(KEYS[1], { attempt = 1, updated = now }) end
if is_new and redis.call('EXISTS', KEYS[3]) == 1 then increment(KEYS[3], args.charge) end
return { 1, now }
