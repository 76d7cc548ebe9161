-- Take a share of a tenant's calls in flight for one invocation, or give it back by wanting none.
-- KEYS: flights.  ARGV: invocation, wanted, cap, lease.  Answers what is granted.
local id, wanted, cap, lease_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

local others = 0
local entries = redis.call('HGETALL', KEYS[1])
for place = 1, #entries, 2 do
  local count, lease_end = string.match(entries[place + 1], '(%d+):(%d+)')
  if now >= tonumber(lease_end) then
    redis.call('HDEL', KEYS[1], entries[place])
  elseif entries[place] ~= id then
    others = others + tonumber(count)
  end
end

local granted = math.max(0, math.min(wanted, cap - others))
if granted == 0 then
  redis.call('HDEL', KEYS[1], id)
  return 0
end
local lease_end = now + lease_ms
redis.call('HSET', KEYS[1], id, granted .. ':' .. lease_end)
if redis.call('PEXPIRETIME', KEYS[1]) < lease_end then redis.call('PEXPIREAT', KEYS[1], lease_end) end
return granted
