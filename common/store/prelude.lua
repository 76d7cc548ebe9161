-- Shared by all scripts. Times are milliseconds since 1970; an argument that may be absent is '' or '=' and its value.

local function optional(argument)
  if argument == '' then return nil end
  return string.sub(argument, 2)
end

-- Write fields of a hash; those that are nil are left alone.
local function set(key, fields)
  local flat = {}
  for name, value in pairs(fields) do
    flat[#flat + 1] = name
    flat[#flat + 1] = value
  end
  redis.call('HSET', key, unpack(flat))
end

-- Add amounts to the fields of a hash; they are `name:amount`, with a blank between two.
local function add_up(key, amounts)
  for name, amount in string.gmatch(amounts, '([%a_]+):(%d+)') do redis.call('HINCRBY', key, name, amount) end
end

-- Return what is left of a number that counts half after so many ms.
local function faded(number, since, half_life)
  return number and tonumber(number) * 2 ^ ((tonumber(since) - now) / half_life) or 0
end

-- Tell those who follow a task that it has come a step further.
local function tell_step(key)
  redis.call('SPUBLISH', 'steps:' .. string.match(key, '{.*'), '')
end

-- Return what decides over a task, or nil where there is no record. Only while it is processing it has an owner.
local function load(key)
  local value = redis.call('HMGET', key, 'status', 'attempt', 'owner', 'lease', 'deadline', 'retention',
    'past_owner', 'ended_by', 'progress', 'code', 'attempts', 'refusals', 'own_refusals')
  if not value[1] then return nil end
  return {
    status = value[1], attempt = tonumber(value[2]), owner = value[3], lease = tonumber(value[4]),
    deadline = tonumber(value[5]), retention = tonumber(value[6]), past_owner = value[7], ended_by = value[8],
    progress = tonumber(value[9]), code = value[10], attempts = value[11] or '',
    refusals = tonumber(value[12]) or 0, own_refusals = tonumber(value[13]) or 0,
  }
end

-- A record's `attempts` are `start:end:code;` each. The end is empty while one runs, the code where it brought the answer.
-- Behind the code may stand what the provider said of a failure, `code:param:request ID`, `~` where it said nothing.
local function with_attempt(attempts)
  return attempts .. now .. '::;'
end

local function with_end(attempts, at, code)
  return (string.gsub(attempts, '::;$', ':' .. at .. ':' .. code .. ';'))
end

-- Join how an attempt ended with what the provider said of it, if anything.
local function with_report(code, told)
  return told and code .. ':' .. told or code
end

local function without_running(attempts)
  return (string.gsub(attempts, '%d+::;$', ''))
end

local function is_terminal(record)
  return record.status ~= 'queued' and record.status ~= 'processing'
end

local function is_live(record)
  return record.status == 'processing' and now < record.lease
end

-- A batch with a webhook has `hook`, what to send where, and `marks`, a letter a task: '.' until it ends, then how it did.
-- `due` is when the last one ended, and goes when the event is on its queue; `announced` stays. Whatever a transition
-- ends is marked in the record at KEYS[#KEYS], its batch.
local mark_of = { completed = 'c', failed = 'f', cancelled = 'x' }
local is_patient, is_newly_due = false, false

local function settle(batch, marks)
  if string.find(marks, '.', 1, true) or redis.call('HGET', batch, 'announced') then return end
  is_newly_due = redis.call('HSETNX', batch, 'due', now) == 1 or is_newly_due
end

local function mark_end(key, status)
  local batch = KEYS[#KEYS]
  local marks = redis.call('HGET', batch, 'marks')
  if not marks then return end
  local place = tonumber(string.match(key, '%d+$'))
  marks = string.sub(marks, 1, place) .. mark_of[status] .. string.sub(marks, place + 2)
  redis.call('HSET', batch, 'marks', marks)
  settle(batch, marks)
end

-- Give a batch its webhook, where it has none. Some of its tasks may have ended before Redis lost the batch.
local function write_hook(batch, hook, size)
  if not hook or redis.call('HGET', batch, 'hook') then return end
  local tag, marks = string.match(batch, '{.*'), {}
  for place = 1, size do
    marks[place] = mark_of[redis.call('HGET', 'task:' .. tag .. ':' .. place - 1, 'status')] or '.'
  end
  marks = table.concat(marks)
  redis.call('HSET', batch, 'hook', hook, 'marks', marks)
  settle(batch, marks)
end

-- End a task, and tell those who wait for its batch. `ended_by` names the call that did it, so that its repeat gets the
-- same answer.
local function finish(key, record, status, at, by, fields)
  local how = with_report(status == 'completed' and '' or fields.last_code or fields.code or 'cancelled', fields.told)
  fields.told = nil
  fields.status, fields.ended, fields.updated, fields.ended_by = status, at, at, by
  fields.attempts = with_end(record.attempts, at, how)
  redis.call('HDEL', key, 'owner', 'lease', 'partial', 'waiting_on')
  set(key, fields)
  redis.call('PEXPIREAT', key, at + record.retention)
  redis.call('SPUBLISH', 'ends:' .. string.match(key, '{.*}'), status)
  mark_end(key, status)
  record.status, record.ended_by, record.code = status, by, fields.code
end

-- Do what time alone does: an attempt ends with its lease, and a task that has not ended by its deadline fails then,
-- whenever that is noticed.
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

-- Return the record at KEYS[1] and whether it was rebuilt: Redis had lost it, and ARGV[1] to ARGV[6] are what the
-- message says of the task, with its kind and webhook? as the last. The batch at KEYS[2] is rebuilt likewise, and keeps the mark
-- `rebuilt`: whether it was accepted is not known any more. Return nil where the record has had its time.
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
    write_hook(KEYS[2], optional(ARGV[#ARGV]), task.size)
  end
  if record then return record, false end
  write_queued(KEYS[1], task)
  return load(KEYS[1]), true
end

