-- Accept a batch whose messages were all sent, unless its sending was given up.
-- KEYS: batch.  Arguments: sending_until_ms, the end of the sending lease that create.lua returned: the fence.
-- Returns 1 where the batch is accepted, else 0: then a repeat of the request has to send it again.
local found = redis.call('HMGET', KEYS[1], 'size', 'accepted', 'rebuilt', 'sending')
-- The messages rebuild a batch that Redis has lost; claim.lua treats it as accepted.
if not found[1] or found[2] then return 1 end
if not found[3] and found[4] ~= args.sending_until_ms then return 0 end
redis.call('HSET', KEYS[1], 'accepted', 1)
return 1
