-- Give a task back to the queue, or fail it where that was its last attempt.
-- KEYS: task, batch.  ARGV: owner, refund, code?, waiting_on, max attempts, cause of a refusal?, the provider's error?.
-- Answers the outcome.
local owner, refund, code, waiting_on, max_attempts = ARGV[1], ARGV[2] == '1', optional(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local cause, provider_error = optional(ARGV[6]), optional(ARGV[7])
local by = 'release:' .. owner

local record = load(KEYS[1])
if not record then return 'lost' end
if record.ended_by == by then return 'exhausted' end
if record.past_owner == owner then return 'released' end
if record.owner ~= owner then return 'lost' end

if not refund and record.attempt >= max_attempts then
  finish(KEYS[1], record, 'failed', now, by, { code = 'attempts_exhausted', last_code = code, provider_error = provider_error })
  return 'exhausted'
end

-- The claim has counted this attempt, so taking it back never goes below zero.
local attempt = refund and record.attempt - 1 or record.attempt
local attempts = refund and without_running(record.attempts) or with_end(record.attempts, now, with_provider_error(code or '', provider_error))
redis.call('HDEL', KEYS[1], 'owner', 'lease', 'partial')
set(KEYS[1], {
  status = 'queued', attempt = attempt, attempts = attempts, progress = 0, past_owner = owner, waiting_on = waiting_on,
  last_code = code, updated = now,
  refusals = cause and record.refusals + 1 or nil,
  own_refusals = cause == 'task' and record.own_refusals + 1 or nil,
})
publish_step(KEYS[1])
return 'released'
