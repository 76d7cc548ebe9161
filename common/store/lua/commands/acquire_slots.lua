-- Acquire some of a tenant's concurrent calls for one invocation. A request for 0 releases them.
-- KEYS: slots.  Arguments: invocation, wanted, cap, lease_ms.  Returns the number that is granted.
local wanted, cap = tonumber(args.wanted), tonumber(args.cap)

local others = 0
local entries = redis.call('HGETALL', KEYS[1])
for place = 1, #entries, 2 do
  local count, lease_end = string.match(entries[place + 1], '(%d+):(%d+)')
  if now >= tonumber(lease_end) then
    redis.call('HDEL', KEYS[1], entries[place])
  elseif entries[place] ~= args.invocation then
    others = others + tonumber(count)
  end
end

local granted = math.max(0, math.min(wanted, cap - others))
if granted == 0 then
  redis.call('HDEL', KEYS[1], args.invocation)
  return 0
end
local lease_end = now + args.lease_ms
redis.call('HSET', KEYS[1], args.invocation, granted .. ':' .. lease_end)
if redis.call('PEXPIRETIME', KEYS[1]) < lease_end then redis.call('PEXPIREAT', KEYS[1], lease_end) end
return granted
