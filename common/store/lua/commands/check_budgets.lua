-- Check whether a tenant's budget of tokens or money is exhausted. The budgets that were kept last take precedence over
-- those of the message.
-- KEYS: day, budgets.  Arguments: tokens?, usd?.  Returns {the budget that is exhausted or '', now}.
local names = { 'tokens', 'usd' }
local kept = redis.call('EXISTS', KEYS[2]) == 1 and redis.call('HMGET', KEYS[2], unpack(names))
local used = redis.call('HMGET', KEYS[1], 'total_tokens', 'cost')
for place, name in ipairs(names) do
  local budget = tonumber(kept and kept[place] or not kept and args[name] or nil)
  if budget and (tonumber(used[place]) or 0) >= budget then return { name, now } end
end
return { '', now }
