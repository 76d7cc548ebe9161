-- Read a batch.  KEYS: batch.  Arguments: fields, a JSON list of names.
-- Returns the values of the fields, followed by the expiry, or nil where there is no batch.
local names = cjson.decode(args.fields)
if not redis.call('HGET', KEYS[1], 'size') then return false end
local values = redis.call('HMGET', KEYS[1], unpack(names))
values[#names + 1] = redis.call('PEXPIRETIME', KEYS[1])
return values
