-- Give a place among the held calls back.  KEYS: held.  ARGV: call.
redis.call('ZREM', KEYS[1], ARGV[1])
