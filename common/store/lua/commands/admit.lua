-- Count tasks on their tenant's day, if its budgets allow them, and keep the budgets for the workers.
-- KEYS: day, budgets, marker of the request.
-- ARGV: tasks, requests?, tokens?, cost?, how long the day, the budgets, the marker are kept, the call that counts.
-- Answers {the budget that is exhausted or '', now}.
local tasks = tonumber(ARGV[1])
local names, budgets = { 'requests', 'tokens', 'usd' }, {}
redis.call('DEL', KEYS[2])
for place, name in ipairs(names) do
  local budget = optional(ARGV[1 + place])
  budgets[place] = tonumber(budget)
  if budget then redis.call('HSET', KEYS[2], name, budget) end
end
redis.call('PEXPIREAT', KEYS[2], now + tonumber(ARGV[6]))
-- Another call may have counted the same request, and may be sending it at this moment.
if redis.call('EXISTS', KEYS[3]) == 1 then return { '', now } end

local used = redis.call('HMGET', KEYS[1], 'requests', 'total_tokens', 'cost')
-- What the tasks will use of tokens and money nobody knows yet: of those, something must be left.
local wanted = { tasks, 1, 1 }
for place, name in ipairs(names) do
  local budget = budgets[place]
  if budget and (tonumber(used[place]) or 0) + wanted[place] > budget then return { name, now } end
end
redis.call('HSET', KEYS[3], 'call', ARGV[8])
redis.call('PEXPIREAT', KEYS[3], now + tonumber(ARGV[7]))
redis.call('HINCRBY', KEYS[1], 'requests', tasks)
redis.call('PEXPIREAT', KEYS[1], now + tonumber(ARGV[5]))
return { '', now }
