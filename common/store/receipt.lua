-- Note how far the delivery of a batch's event has got, unless more is known.
-- KEYS: batch.  ARGV: status, attempts, `status:attempts:` and the rest as it is kept.
local found = redis.call('HMGET', KEYS[1], 'hook', 'delivery')
if not found[1] then return end
-- Receipts come in any order and more than once; an event may even have been sent twice. What was delivered, was.
local status, attempts = string.match(found[2] or 'pending:0:', '^(%a+):(%d+):')
local is_news = tonumber(ARGV[2]) > tonumber(attempts) and status == 'pending'
if status ~= 'delivered' and (is_news or ARGV[1] == 'delivered') then
  redis.call('HSET', KEYS[1], 'delivery', ARGV[3])
end
