-- The record of a task: a hash, its state and its list of attempts.

-- Return the fields that decide a transition, or nil where there is no record. A task has an owner only while it is
-- `processing`.
local function load(key)
  local value = redis.call('HMGET', key, 'status', 'attempt', 'owner', 'lease', 'deadline', 'retention',
    'past_owner', 'ended_by', 'progress', 'code', 'attempts', 'refusals', 'own_refusals', 'deleted')
  if not value[1] then return nil end
  return {
    status = value[1], attempt = tonumber(value[2]), owner = value[3], lease = tonumber(value[4]),
    deadline = tonumber(value[5]), retention = tonumber(value[6]), past_owner = value[7], ended_by = value[8],
    progress = tonumber(value[9]), code = value[10], attempts = value[11] or '',
    refusals = tonumber(value[12]) or 0, own_refusals = tonumber(value[13]) or 0,
    deleted = value[14],
  }
end

local function is_terminal(record)
  return record.status ~= 'queued' and record.status ~= 'processing'
end

local function is_live(record)
  return record.status == 'processing' and now < record.lease
end

-- `attempts` holds one JSON object per attempt, separated by commas: `started_ms`, then, once it has ended, `ended_ms`,
-- `code` where it brought no answer, and `provider_error` where the provider named its error. The last one is the only
-- one that can run. Text operations cost a fraction of cjson, which would decode and encode the whole list.
local running = '{"started_ms":%d+}$'

local function with_attempt(attempts)
  return (attempts == '' and '' or attempts .. ',') .. '{"started_ms":' .. now .. '}'
end

local function with_end(attempts, at, code, provider_error)
  if not string.find(attempts, running) then return attempts end
  return string.sub(attempts, 1, -2) .. ',"ended_ms":' .. at
    .. (code and ',"code":"' .. code .. '"' or '')
    .. (provider_error and ',"provider_error":' .. provider_error or '') .. '}'
end

local function without_running(attempts)
  return (string.gsub(attempts, ',?' .. running, ''))
end

-- Publish a change of a task to the subscribers of that task.
local function publish_step(key)
  redis.call('SPUBLISH', 'steps:' .. string.match(key, '{.*'), '')
end
