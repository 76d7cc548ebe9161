-- Note that the provider refused a call for its rate. Pause its model for its tenant, and for all tenants where calls of two
-- of them are refused.
-- KEYS: the model's pause, its pause for the tenant.
-- ARGV: wait (0: the provider named none), first wait of its own, longest wait, memory, half-life of calls, task, tenant,
-- known ('1': the task was refused before while others were let through, so it says nothing of the model).
-- Answers {what is left of the tenant's pause, of everybody's, 1 where calls of other tasks are refused too}.
local asked, first, longest, memory = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local half_life, task, tenant, is_known = tonumber(ARGV[5]), ARGV[6], ARGV[7], ARGV[8] == '1'

-- The longer of what stands and what is asked counts. Calls that were on their way when a pause began say nothing new: the
-- first one after its end doubles the next pause, or halves it where calls were let through meanwhile.
local function pause(key)
  local found = redis.call('HMGET', key, 'until', 'doublings', 'passed')
  local stands_until, doublings = tonumber(found[1]) or 0, tonumber(found[2]) or -1
  local is_new = now >= stands_until
  if is_new then
    if found[3] == '1' then
      doublings = math.max(0, doublings - 1)
    elseif first * 2 ^ doublings < longest then
      doublings = doublings + 1
    end
  end
  local wait = math.min(longest, asked > 0 and asked or first * 2 ^ doublings)
  local till = is_new and now + wait or math.max(stands_until, asked > 0 and now + wait or 0)
  set(key, { ['until'] = till, doublings = doublings, passed = is_new and 0 or nil })
end

local function left_of(key) return math.max(0, (tonumber(redis.call('HGET', key, 'until')) or 0) - now) end

local known = redis.call('HMGET', KEYS[1],
  'let_through', 'let_through_at', 'refused', 'refused_at', 'task', 'tenant', 'tenant_at')
local let_through, refused = decayed(known[1], known[2], half_life), decayed(known[3], known[4], half_life)
local is_counted = known[5] == task
local of_others = is_counted and refused - decayed(1, known[4], half_life) or refused
-- Where a limit is nearly kept to, it refuses some. Where it refuses more than a quarter, it is the model's own.
local are_others_refused = of_others >= 0.5 and 3 * of_others > let_through

-- The same task again is no news: another one has to find out whether the model still refuses.
if not is_known and redis.call('HGET', KEYS[2], 'task') ~= task then
  pause(KEYS[2])
  redis.call('HSET', KEYS[2], 'task', task)
  local is_of_two = known[6] and known[6] ~= tenant and now < tonumber(known[7]) + memory
  local is_shared = are_others_refused and is_of_two
  if is_shared then pause(KEYS[1]) end
  -- Both have been heard: the next pause of all needs two again.
  set(KEYS[1], { tenant = tenant, tenant_at = is_shared and 0 or now })
  if not is_counted then
    set(KEYS[1], { refused = string.format('%.3f', refused + 1), refused_at = now, task = task })
  end
end
redis.call('PEXPIREAT', KEYS[1], now + left_of(KEYS[1]) + 3 * half_life)
redis.call('PEXPIREAT', KEYS[2], now + left_of(KEYS[2]) + memory)
return { left_of(KEYS[2]), left_of(KEYS[1]), are_others_refused and 1 or 0 }
