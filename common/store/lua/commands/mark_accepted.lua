-- Accept a batch whose messages were all sent, unless its sending was given up.
-- KEYS: batch.  ARGV: the end of the sending lease, as create.lua answered it: the fence.
-- Answers 1 where the batch is accepted, else 0: then a repeat of the request has to send it again.
local found = redis.call('HMGET', KEYS[1], 'size', 'accepted', 'rebuilt', 'sending')
-- What Redis has lost, the messages rebuild; claim.lua takes that for accepted.
if not found[1] or found[2] then return 1 end
if not found[3] and found[4] ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'accepted', 1)
return 1
