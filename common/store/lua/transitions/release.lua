-- Return a task to the queue, or fail it where that was its last attempt. A refund does not count the attempt.
-- KEYS: task, batch.
-- Arguments: owner, refund?, code?, waiting_on, max_attempts, refused_by?, provider_error?.  Returns the outcome.
local owner, refund = args.owner, args.refund
local by = 'release:' .. owner

local record = load(KEYS[1])
if not record then return 'lost' end
if record.ended_by == by then return 'exhausted' end
if record.past_owner == owner then return 'released' end
if record.owner ~= owner then return 'lost' end

if not refund and record.attempt >= tonumber(args.max_attempts) then
  finish(KEYS[1], record, 'failed', now, by,
    { code = 'attempts_exhausted', last_code = args.code, provider_error = args.provider_error })
  return 'exhausted'
end

-- The claim counted this attempt, so a refund never goes below zero.
local attempt = refund and record.attempt - 1 or record.attempt
local attempts = refund and without_running(record.attempts)
  or with_end(record.attempts, now, args.code, args.provider_error)
redis.call('HDEL', KEYS[1], 'owner', 'lease', 'partial')
set(KEYS[1], {
  status = 'queued', attempt = attempt, attempts = attempts, progress = 0, past_owner = owner,
  waiting_on = args.waiting_on, last_code = args.code, updated = now,
  refusals = args.refused_by and record.refusals + 1 or nil,
  own_refusals = args.refused_by == 'task' and record.own_refusals + 1 or nil,
})
publish_step(KEYS[1])
return 'released'
