-- Release the slot of a held call.  KEYS: held.  Arguments: call.
redis.call('ZREM', KEYS[1], args.call)
