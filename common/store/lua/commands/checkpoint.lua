-- Keep a finished step of a workflow, and add to its batch's sums what it has cost, once.
-- KEYS: task, steps, batch.  ARGV: owner, deadline, name, step, charge.
-- Answers {0 where the task is no longer the owner's, else 1, now}. A lost record takes it from nobody, as in progress.lua.
local owner, deadline, name, step = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]

local record = load(KEYS[1])
if record and record.owner ~= owner then return { 0, now } end
local is_new = redis.call('HSET', KEYS[2], name, step) == 1
redis.call('PEXPIREAT', KEYS[2], deadline)
-- Attempts bound what one step may cost. The next step has its own; this attempt is the first at it.
if record then set(KEYS[1], { attempt = 1, updated = now }) end
if is_new and redis.call('EXISTS', KEYS[3]) == 1 then increment(KEYS[3], ARGV[5]) end
return { 1, now }
