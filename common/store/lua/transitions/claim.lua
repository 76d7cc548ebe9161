-- Take the lease of a task.
-- KEYS: task, batch.  Arguments: header, owner, lease_ms, max_attempts, late_claim_wait_ms.
-- Returns outcome, attempt, now_ms, wait_ms and, where it ended the task, code; where it was claimed, refusals and
-- own_refusals.
local owner, max_attempts = args.owner, tonumber(args.max_attempts)
local by = 'claim:' .. owner

local record = load_or_rebuild()
if not record then return { 'outcome', 'ended', 'now_ms', now } end

local function answer(outcome, wait_ms, code)
  local fields = { 'outcome', outcome, 'attempt', record.attempt, 'now_ms', now, 'wait_ms', wait_ms }
  if code then fields[9], fields[10] = 'code', code end
  return fields
end

local function claimed(attempt)
  return {
    'outcome', 'claimed', 'attempt', attempt, 'now_ms', now,
    'refusals', record.refusals, 'own_refusals', record.own_refusals,
  }
end

-- A task whose batch was not accepted must not cost anything. While its request may still be sending it, wait for that.
local batch = redis.call('HMGET', KEYS[2], 'accepted', 'rebuilt', 'sending')
if not is_terminal(record) and not batch[1] and not batch[2] then
  local left = (tonumber(batch[3]) or 0) - now
  if left > 0 then return answer('unaccepted', left) end
  -- The sending lease is over: mark_accepted.lua now refuses that request, and its repeat sends this message again.
  redis.call('HDEL', KEYS[2], 'sending')
  return answer('not_accepted', 0)
end

apply_time(KEYS[1], record, by)
if is_terminal(record) then return answer('ended', 0, record.ended_by == by and record.code) end

if is_live(record) then
  if record.owner == owner then return claimed(record.attempt) end
  return answer('busy', record.lease - now)
end

-- An owner is random for each claim. A former owner that claims again is a delayed copy of its first call.
if record.owner == owner or record.past_owner == owner then return answer('busy', tonumber(args.late_claim_wait_ms)) end

if record.attempt >= max_attempts then
  -- A task that is still `processing` was not released: its last worker died.
  local last_code = record.status == 'processing' and 'worker_lost' or nil
  finish(KEYS[1], record, 'failed', now, by, { code = 'attempts_exhausted', last_code = last_code })
  return answer('ended', 0, 'attempts_exhausted')
end

redis.call('HSETNX', KEYS[1], 'started', now)
redis.call('HDEL', KEYS[1], 'partial', 'waiting_on')
set(KEYS[1], {
  status = 'processing', owner = owner, lease = now + args.lease_ms, attempt = record.attempt + 1, progress = 0,
  attempts = with_attempt(record.attempts), updated = now,
})
publish_step(KEYS[1])
return claimed(record.attempt + 1)
