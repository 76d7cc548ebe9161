-- Note how far the delivery of a batch's event has got, unless more is known.
-- KEYS: batch.  ARGV: status, attempts, and the rest as it is kept.
local found = redis.call('HMGET', KEYS[1], 'hook', 'delivery')
if not found[1] then return end
-- Receipts come in any order and more than once; an event may even have been sent twice. What was delivered, was.
local status, attempts = string.match(found[2] or 'pending:0:', '^(%a+):(%d+):')
-- What the queue of events has given up tells of no try of its own: those that were told of stay counted.
local is_given_up = ARGV[1] == 'failed' and ARGV[2] == '0'
local is_news = status == 'pending' and (is_given_up or tonumber(ARGV[2]) > tonumber(attempts))
if status ~= 'delivered' and (is_news or ARGV[1] == 'delivered') then
  if not is_given_up then attempts = ARGV[2] end
  redis.call('HSET', KEYS[1], 'delivery', ARGV[1] .. ':' .. attempts .. ':' .. ARGV[3])
end
