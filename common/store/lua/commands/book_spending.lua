-- Add the amounts of calls to their tenant's day, each call once.
-- KEYS: day, then a marker for each call.
-- Arguments: day_ttl_ms, marker_ttl_ms, and for each call an item: amounts, a JSON object.  Returns how many were added.
local booked, sums = 0, {}
for place, item in ipairs(items) do
  if redis.call('SET', KEYS[place + 1], 1, 'NX', 'PXAT', now + args.marker_ttl_ms) then
    booked = booked + 1
    for name, amount in pairs(cjson.decode(item.amounts)) do sums[name] = (sums[name] or 0) + amount end
  end
end
if booked == 0 then return 0 end
for name, sum in pairs(sums) do redis.call('HINCRBY', KEYS[1], name, string.format('%.0f', sum)) end
redis.call('PEXPIREAT', KEYS[1], now + args.day_ttl_ms)
return booked
