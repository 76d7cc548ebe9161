-- Pause a model for a tenant after the provider refused a call for its rate, and for all tenants where it refuses calls of
-- two of them.
-- KEYS: the model's pause, its pause for the tenant.
-- Arguments: wait_ms? that the provider names, initial_ms, longest_ms, memory_ms, half_life_ms of calls, task_id, tenant,
-- is_known?: the task was refused before while others were let through, so its refusal does not concern the model.
-- Returns tenant_ms and shared_ms, the rest of the tenant's and of the shared pause, and others_refused, 1 where calls of
-- other tasks are refused too.
local asked, initial, longest = tonumber(args.wait_ms) or 0, tonumber(args.initial_ms), tonumber(args.longest_ms)
local half_life, task, tenant = tonumber(args.half_life_ms), args.task_id, args.tenant

-- The longer of the present and the requested pause counts. Calls that started before a pause say nothing new: the first
-- one after its end doubles the next pause, or halves it where calls were let through meanwhile.
local function pause(key)
  local found = redis.call('HMGET', key, 'until', 'doublings', 'passed')
  local paused_until, doublings = tonumber(found[1]) or 0, tonumber(found[2]) or -1
  local is_new = now >= paused_until
  if is_new then
    if found[3] == '1' then
      doublings = math.max(0, doublings - 1)
    elseif initial * 2 ^ doublings < longest then
      doublings = doublings + 1
    end
  end
  local wait = math.min(longest, asked > 0 and asked or initial * 2 ^ doublings)
  local till = is_new and now + wait or math.max(paused_until, asked > 0 and now + wait or 0)
  set(key, { ['until'] = till, doublings = doublings, passed = is_new and 0 or nil })
end

local function left_of(key) return math.max(0, (tonumber(redis.call('HGET', key, 'until')) or 0) - now) end

local known = redis.call('HMGET', KEYS[1],
  'let_through', 'let_through_at', 'refused', 'refused_at', 'task', 'tenant', 'tenant_at')
local let_through, refused = decayed(known[1], known[2], half_life), decayed(known[3], known[4], half_life)
local is_counted = known[5] == task
local of_others = is_counted and refused - decayed(1, known[4], half_life) or refused
-- A provider that is near its limit refuses some calls. More than a quarter refused means that the model is over it.
local are_others_refused = of_others >= 0.5 and 3 * of_others > let_through

-- A repeated refusal of the same task changes nothing: another task finds out whether the model still refuses.
if not args.is_known and redis.call('HGET', KEYS[2], 'task') ~= task then
  pause(KEYS[2])
  redis.call('HSET', KEYS[2], 'task', task)
  local is_of_two = known[6] and known[6] ~= tenant and now < tonumber(known[7]) + args.memory_ms
  local is_shared = are_others_refused and is_of_two
  if is_shared then pause(KEYS[1]) end
  -- The next shared pause needs refusals of two tenants again.
  set(KEYS[1], { tenant = tenant, tenant_at = is_shared and 0 or now })
  if not is_counted then
    set(KEYS[1], { refused = string.format('%.3f', refused + 1), refused_at = now, task = task })
  end
end
redis.call('PEXPIREAT', KEYS[1], now + left_of(KEYS[1]) + 3 * half_life)
redis.call('PEXPIREAT', KEYS[2], now + left_of(KEYS[2]) + args.memory_ms)
return {
  'tenant_ms', left_of(KEYS[2]), 'shared_ms', left_of(KEYS[1]), 'others_refused', are_others_refused and 1 or 0,
}
