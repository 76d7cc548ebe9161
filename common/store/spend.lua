-- Book an answer on its tenant's day, once.
-- KEYS: day, marker.  ARGV: how long the day is kept, how long the marker, then (field, amount)….  Answers 1, 0 for a repeat.
if not redis.call('SET', KEYS[2], 1, 'NX', 'PXAT', now + tonumber(ARGV[2])) then return 0 end
for place = 3, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[place], ARGV[place + 1]) end
redis.call('PEXPIREAT', KEYS[1], now + tonumber(ARGV[1]))
return 1
