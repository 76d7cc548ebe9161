-- Read a batch.  KEYS: batch.  Answers {size, created, deadline, metadata?, expiry, accepted?, retry?, hook?,
-- delivery?, cost?, estimated tokens?, estimated cost?, tokens?…} or nil.
local values = redis.call('HMGET', KEYS[1], 'size', 'created', 'deadline', 'metadata')
if not values[1] then return false end
values[5] = redis.call('PEXPIRETIME', KEYS[1])
local rest = redis.call('HMGET', KEYS[1],
  'accepted', 'retry', 'hook', 'delivery', 'cost', 'estimated_tokens', 'estimated_cost', 'prompt_tokens', 'completion_tokens', 'total_tokens', 'cached_tokens')
for place, value in ipairs(rest) do values[5 + place] = value end
return values
