-- Pause a scope for all workers, for the longer of what stands and what is asked.
-- KEYS: pause.  ARGV: wait (0: the provider named none), first wait of its own, longest wait, memory.
-- Answers what is left of the pause, in ms.
local asked, first, longest, memory = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local found = redis.call('HMGET', KEYS[1], 'until', 'streak')
local stands_until, streak = tonumber(found[1]) or 0, tonumber(found[2]) or 0

-- Calls that were on their way when the pause began say nothing new: only one after its end doubles the next.
local is_new = now >= stands_until
local wait = math.min(longest, asked > 0 and asked or first * 2 ^ streak)
local till = is_new and now + wait or math.max(stands_until, asked > 0 and now + wait or 0)
set(KEYS[1], { ['until'] = till, streak = is_new and streak + 1 or streak })
redis.call('PEXPIREAT', KEYS[1], till + memory)
return till - now
