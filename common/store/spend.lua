-- Book answers on their tenant's day, each once.
-- KEYS: day, then a marker an answer.
-- ARGV: how long the day is kept, how long a marker, then the amounts of each answer, in the order of `names`.
local names = { 'prompt_tokens', 'completion_tokens', 'total_tokens', 'cached_tokens', 'cost', 'unpriced' }
local tasks, sums = 0, {}
for place = 2, #KEYS do
  if redis.call('SET', KEYS[place], 1, 'NX', 'PXAT', now + tonumber(ARGV[2])) then
    tasks = tasks + 1
    local name = 0
    for amount in string.gmatch(ARGV[place + 1], '%d+') do
      name = name + 1
      sums[name] = (sums[name] or 0) + tonumber(amount)
    end
  end
end
if tasks == 0 then return 0 end
redis.call('HINCRBY', KEYS[1], 'tasks', tasks)
for place, name in ipairs(names) do redis.call('HINCRBY', KEYS[1], name, string.format('%.0f', sums[place])) end
redis.call('PEXPIREAT', KEYS[1], now + tonumber(ARGV[1]))
return tasks
