-- Book calls on their tenant's day, each once.
-- KEYS: day, then a marker a call.
-- ARGV: how long the day is kept, how long a marker, then the amounts of each call: `name:amount`, a blank between two.
local booked, sums = 0, {}
for place = 2, #KEYS do
  if redis.call('SET', KEYS[place], 1, 'NX', 'PXAT', now + tonumber(ARGV[2])) then
    booked = booked + 1
    for name, amount in string.gmatch(ARGV[place + 1], '([%a_]+):(%d+)') do
      sums[name] = (sums[name] or 0) + tonumber(amount)
    end
  end
end
if booked == 0 then return 0 end
for name, sum in pairs(sums) do redis.call('HINCRBY', KEYS[1], name, string.format('%.0f', sum)) end
redis.call('PEXPIREAT', KEYS[1], now + tonumber(ARGV[1]))
return booked
