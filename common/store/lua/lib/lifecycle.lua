-- The start, the rebuild and the end of a task.

-- End a task and publish the end to the subscribers of its batch. `ended_by` names the call that ended the task: its
-- repeat gets the same answer.
local function finish(key, record, status, at, by, fields)
  local code = status == 'completed' and '' or fields.last_code or fields.code or 'cancelled'
  local ending = with_provider_error(code, fields.provider_error)
  fields.provider_error = nil
  fields.status, fields.ended, fields.updated, fields.ended_by = status, at, at, by
  fields.attempts = with_end(record.attempts, at, ending)
  redis.call('HDEL', key, 'owner', 'lease', 'partial', 'waiting_on')
  set(key, fields)
  redis.call('PEXPIREAT', key, at + record.retention)
  redis.call('SPUBLISH', 'ends:' .. string.match(key, '{.*}'), status)
  mark_end(key, status)
  record.status, record.ended_by, record.code = status, by, fields.code
end

-- Apply the effects of time: an attempt ends with its lease, and a task that has not ended fails at its deadline, however
-- late a script sees it.
local function apply_time(key, record, by)
  if record.status == 'processing' and not is_live(record) then
    record.attempts = with_end(record.attempts, math.min(record.lease, record.deadline), 'worker_lost')
  end
  if not is_terminal(record) and now >= record.deadline then
    finish(key, record, 'failed', record.deadline, by, { code = 'deadline_exceeded' })
  end
end

local function write_queued(key, task)
  set(key, {
    status = 'queued', attempt = 0, progress = 0, waiting_on = 'capacity', updated = now,
    created = task.created, deadline = task.deadline, retention = task.retention,
    kind = task.kind, model = task.model, custom_id = task.custom_id,
  })
  redis.call('PEXPIREAT', key, task.deadline + task.retention)
end

local function write_batch(key, batch)
  set(key, batch)
  redis.call('PEXPIREAT', key, batch.deadline + batch.retention)
end

-- Return the record at KEYS[1] and whether it was rebuilt. Where Redis lost it, ARGV[1] to ARGV[6] rebuild it: they are
-- the task's header in the message, with its kind and webhook? as the last arguments. The batch at KEYS[2] is rebuilt
-- likewise and marked `rebuilt`: whether it was accepted is not known. Return nil where the record has expired.
local function load_or_rebuild()
  local task = {
    size = ARGV[1], created = tonumber(ARGV[2]), deadline = tonumber(ARGV[3]), retention = tonumber(ARGV[4]),
    kind = ARGV[#ARGV - 1], model = ARGV[5], custom_id = optional(ARGV[6]),
  }
  local record = load(KEYS[1])
  if not record and now >= task.deadline + task.retention then return nil, false end
  if redis.call('EXISTS', KEYS[2]) == 0 then
    write_batch(KEYS[2],
      { size = task.size, created = task.created, deadline = task.deadline, retention = task.retention, rebuilt = 1 })
    write_webhook(KEYS[2], optional(ARGV[#ARGV]), task.size)
  end
  if record then return record, false end
  write_queued(KEYS[1], task)
  return load(KEYS[1]), true
end
