-- Take the lease of a task.
-- KEYS: task, batch.  ARGV: the message's six, owner, lease, max attempts, late claim's wait, webhook?.
-- Answers {outcome, attempt, now, wait, code or '', refusals and own ones where it was claimed}.
local owner, lease_ms, max_attempts, late_wait_ms = ARGV[7], tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local by = 'claim:' .. owner

local record = load_or_rebuild()
if not record then return { 'ended', 0, now, 0, '' } end

-- What was not accepted must not cost anything. While its call may still be sending it, wait for that.
local batch = redis.call('HMGET', KEYS[2], 'accepted', 'rebuilt', 'sending')
if not is_terminal(record) and not batch[1] and not batch[2] then
  local left = (tonumber(batch[3]) or 0) - now
  if left > 0 then return { 'unaccepted', record.attempt, now, left, '' } end
  -- Given up: from now on mark_accepted.lua refuses that call, and a repeat of the request sends this message again.
  redis.call('HDEL', KEYS[2], 'sending')
  return { 'not_accepted', record.attempt, now, 0, '' }
end

apply_time(KEYS[1], record, by)
if is_terminal(record) then
  return { 'ended', record.attempt, now, 0, record.ended_by == by and record.code or '' }
end

if is_live(record) then
  if record.owner == owner then return { 'claimed', record.attempt, now, 0, '', record.refusals, record.own_refusals } end
  return { 'busy', record.attempt, now, record.lease - now, '' }
end

-- An owner is random for each claim, so one that held the task before is a copy of its old call, late on the wire.
if record.owner == owner or record.past_owner == owner then
  return { 'busy', record.attempt, now, late_wait_ms, '' }
end

if record.attempt >= max_attempts then
  -- Where it was not released, its last worker has died.
  local last_code = record.status == 'processing' and 'worker_lost' or nil
  finish(KEYS[1], record, 'failed', now, by, { code = 'attempts_exhausted', last_code = last_code })
  return { 'ended', record.attempt, now, 0, 'attempts_exhausted' }
end

redis.call('HSETNX', KEYS[1], 'started', now)
redis.call('HDEL', KEYS[1], 'partial', 'waiting_on')
set(KEYS[1], {
  status = 'processing', owner = owner, lease = now + lease_ms, attempt = record.attempt + 1, progress = 0,
  attempts = with_attempt(record.attempts), updated = now,
})
publish_step(KEYS[1])
return { 'claimed', record.attempt + 1, now, 0, '', record.refusals, record.own_refusals }
