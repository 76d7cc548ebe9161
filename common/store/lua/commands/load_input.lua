-- Read the input that a task keeps.  KEYS: task.  Returns the input, or nil.
return redis.call('HGET', KEYS[1], 'input')
