-- Delete the content of tasks that have ended.  KEYS: tasks….
-- The record stays until it expires, and is not read any more: without it, a message would rebuild the task and run it.
for place = 1, #KEYS do
  local record = load(KEYS[place])
  if record and is_terminal(record) then
    redis.call('HDEL', KEYS[place], 'result', 'response', 'partial', 'finish_reason', 'usage', 'cost', 'custom_id',
      'request', 'kept', 'input', 'error_type', 'attempts')
    redis.call('HSET', KEYS[place], 'deleted', 1)
  end
end
