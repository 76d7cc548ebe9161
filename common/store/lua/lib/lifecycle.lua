-- The start, the rebuild and the end of a task.

-- End a task and publish the end to the subscribers of its batch. `ended_by` names the call that ended the task: its
-- repeat gets the same answer.
local function finish(key, record, status, at, by, fields)
  local code = fields.last_code or fields.code or status == 'cancelled' and 'cancelled' or nil
  fields.attempts = with_end(record.attempts, at, code, fields.provider_error)
  fields.provider_error = nil
  fields.status, fields.ended, fields.updated, fields.ended_by = status, at, at, by
  redis.call('HDEL', key, 'owner', 'lease', 'partial', 'waiting_on')
  set(key, fields)
  redis.call('PEXPIREAT', key, at + record.retention)
  redis.call('SPUBLISH', 'ends:' .. string.match(key, '{.*}'), status)
  mark_end(key, status, fields.finish_reason)
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

-- Write the record of a queued task from the fields of its header. This is the one place that reads them.
local function write_queued(key, header)
  set(key, {
    status = 'queued', attempt = 0, progress = 0, waiting_on = 'capacity', updated = now,
    created = header.created_ms, deadline = header.deadline_ms, retention = header.retention_ms,
    kind = header.kind, model = header.model, custom_id = header.custom_id,
  })
  redis.call('PEXPIREAT', key, header.deadline_ms + header.retention_ms)
end

local function write_batch(key, batch)
  set(key, batch)
  redis.call('PEXPIREAT', key, batch.deadline + batch.retention)
end

-- Return the record at KEYS[1] and whether it was rebuilt. Where Redis lost it, `header` rebuilds it: the task's header as
-- its message carries it, in JSON. The batch at KEYS[2] is rebuilt likewise and marked `rebuilt`: whether it was accepted
-- is not known. Return nil where the record has expired.
local function load_or_rebuild()
  local record = load(KEYS[1])
  local is_batch_lost = redis.call('EXISTS', KEYS[2]) == 0
  if record and not is_batch_lost then return record, false end
  local header = cjson.decode(args.header)
  if not record and now >= header.deadline_ms + header.retention_ms then return nil, false end
  if is_batch_lost then
    write_batch(KEYS[2], {
      size = header.batch_size, created = header.created_ms, deadline = header.deadline_ms,
      retention = header.retention_ms, rebuilt = 1,
    })
    write_webhook(KEYS[2], header.webhook, header.batch_size)
  end
  if record then return record, false end
  write_queued(KEYS[1], header)
  return load(KEYS[1]), true
end
