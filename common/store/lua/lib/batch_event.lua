-- The event that a webhook gets when the last task of its batch ends.
--
-- A batch with a webhook has `webhook`, and `marks`, one letter per task: '.' until the task ends, then its
-- end. `due` is when the last task ended; it is removed when the event is on its queue, and `announced` is set. A
-- transition marks its ends in the batch's record, which is at KEYS[#KEYS].

local mark_of_status = { completed = 'c', failed = 'f', cancelled = 'x' }

-- A task that completed at its token limit has a mark of its own: its event is another one.
local function mark_of(status, finish_reason)
  if status == 'completed' and finish_reason == 'length' then return 'i' end
  return mark_of_status[status]
end

local is_newly_due = false
-- Set by transitions whose callers hold no message of the batch: see announce.lua.
local may_leave_to_sender = false

local function set_due_if_ended(batch, marks)
  if string.find(marks, '.', 1, true) or redis.call('HGET', batch, 'announced') then return end
  is_newly_due = redis.call('HSETNX', batch, 'due', now) == 1 or is_newly_due
end

local function mark_end(key, status, finish_reason)
  local batch = KEYS[#KEYS]
  local marks = redis.call('HGET', batch, 'marks')
  if not marks then return end
  local place = tonumber(string.match(key, '%d+$'))
  marks = string.sub(marks, 1, place) .. mark_of(status, finish_reason) .. string.sub(marks, place + 2)
  redis.call('HSET', batch, 'marks', marks)
  set_due_if_ended(batch, marks)
end

-- Set the webhook of a batch that has none. Some tasks may have ended before Redis lost the batch.
local function write_webhook(batch, webhook, size)
  if not webhook or redis.call('HGET', batch, 'webhook') then return end
  local tag, marks = string.match(batch, '{.*'), {}
  for place = 1, size do
    local task = redis.call('HMGET', 'task:' .. tag .. ':' .. place - 1, 'status', 'finish_reason')
    marks[place] = mark_of(task[1], task[2]) or '.'
  end
  marks = table.concat(marks)
  redis.call('HSET', batch, 'webhook', webhook, 'marks', marks)
  set_due_if_ended(batch, marks)
end
