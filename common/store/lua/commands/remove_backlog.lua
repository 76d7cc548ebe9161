-- Release the slots of tasks whose messages have left the queue.  KEYS: backlog.  Arguments: task_ids, a JSON list.
redis.call('ZREM', KEYS[1], unpack(cjson.decode(args.task_ids)))
