-- Write the state of the delivery of a batch's event, unless the record has a later one.
-- KEYS: batch.  Arguments: delivery, a JSON object.
local found = redis.call('HMGET', KEYS[1], 'webhook', 'delivery')
if not found[1] then return end
-- Receipts come in any order and more than once, and an event may have been sent twice. A delivery is final.
local known = found[2] and cjson.decode(found[2]) or { status = 'pending', attempts = 0 }
local receipt = cjson.decode(args.delivery)
-- A receipt of the dead-letter queue counts no attempt of its own: the attempts of former receipts stay counted.
local is_given_up = receipt.status == 'failed' and receipt.attempts == 0
local is_later = known.status == 'pending' and (is_given_up or receipt.attempts > known.attempts)
if known.status ~= 'delivered' and (is_later or receipt.status == 'delivered') then
  if is_given_up then receipt.attempts = known.attempts end
  redis.call('HSET', KEYS[1], 'delivery', cjson.encode(receipt))
end
