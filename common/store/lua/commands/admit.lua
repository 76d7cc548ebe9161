-- Count tasks on their tenant's day, if its budgets allow them, and keep the budgets for the workers.
-- KEYS: day, budgets, marker of the request.
-- Arguments: tasks, requests?, tokens?, usd?, day_ttl_ms, budgets_ttl_ms, marker_ttl_ms, call: the one that counts.
-- Returns {the budget that is exhausted or '', now}.
local tasks = tonumber(args.tasks)
local names, budgets = { 'requests', 'tokens', 'usd' }, {}
redis.call('DEL', KEYS[2])
for place, name in ipairs(names) do
  budgets[place] = tonumber(args[name])
  if args[name] then redis.call('HSET', KEYS[2], name, args[name]) end
end
redis.call('PEXPIREAT', KEYS[2], now + args.budgets_ttl_ms)
-- Another call may have counted the same request, and may be sending it now.
if redis.call('EXISTS', KEYS[3]) == 1 then return { '', now } end

local used = redis.call('HMGET', KEYS[1], 'requests', 'total_tokens', 'cost')
-- The tokens and the cost of the tasks are not known yet: at least one of each must remain.
local needed = { tasks, 1, 1 }
for place, name in ipairs(names) do
  local budget = budgets[place]
  if budget and (tonumber(used[place]) or 0) + needed[place] > budget then return { name, now } end
end
redis.call('HSET', KEYS[3], 'call', args.call)
redis.call('PEXPIREAT', KEYS[3], now + args.marker_ttl_ms)
redis.call('HINCRBY', KEYS[1], 'requests', tasks)
redis.call('PEXPIREAT', KEYS[1], now + args.day_ttl_ms)
return { '', now }
