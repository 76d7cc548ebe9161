-- Hand out start times: the next ones on a schedule that all workers share, one minute divided by its limit apart.
-- KEYS: rate, pause.
-- ARGV: requests and tokens a minute (0: no limit), horizon, tokens used beyond those booked, the provider's requests and
-- tokens a minute (0: not named), its waits for requests and tokens, how long its word counts, then the tokens of each start.
-- Answers {what is left of the pause, then the wait of each}. A wait beyond the horizon was not booked.
local minute = 60000
local horizon, used, word_ms = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[9])
local first_cost = 10

local paused = math.max(0, (tonumber(redis.call('HGET', KEYS[2], 'until')) or 0) - now)
local found = redis.call('HMGET', KEYS[1],
  'next_request', 'next_token', 'provider_requests', 'requests_until', 'provider_tokens', 'tokens_until')

-- The lower of our limit and the provider's, which counts for a while; nil where we have none.
local function limit_of(ours, named, known, known_until)
  ours, named = tonumber(ours), tonumber(named)
  if ours == 0 then return nil, 0 end
  if named > 0 then return math.min(ours, named), named end
  if known and now < tonumber(known_until) then return math.min(ours, tonumber(known)), 0 end
  return ours, 0
end

local requests, provider_requests = limit_of(ARGV[1], ARGV[5], found[3], found[4])
local tokens, provider_tokens = limit_of(ARGV[2], ARGV[6], found[5], found[6])
local next_request = math.max(tonumber(found[1]) or 0, now + tonumber(ARGV[7]))
local next_token = math.max(tonumber(found[2]) or 0, now + tonumber(ARGV[8]))
if tokens then next_token = next_token + used * minute / tokens end

local answer = { paused }
local virtual_request, virtual_token = next_request, next_token
for place = first_cost, #ARGV do
  local start = now + paused
  if requests then start = math.max(start, virtual_request) end
  if tokens then start = math.max(start, virtual_token) end
  if requests then virtual_request = start + minute / requests end
  if tokens then virtual_token = start + tonumber(ARGV[place]) * minute / tokens end
  local wait = math.ceil(start - now)
  -- What does not fit is told when its turn would be, and takes no place from others.
  if wait <= horizon then next_request, next_token = virtual_request, virtual_token end
  answer[#answer + 1] = wait
end

if requests or tokens then
  local fields = { next_request = string.format('%.3f', next_request), next_token = string.format('%.3f', next_token) }
  if provider_requests > 0 then
    fields.provider_requests, fields.requests_until = provider_requests, now + word_ms
  end
  if provider_tokens > 0 then
    fields.provider_tokens, fields.tokens_until = provider_tokens, now + word_ms
  end
  set(KEYS[1], fields)
  redis.call('PEXPIREAT', KEYS[1], math.ceil(math.max(now, next_request, next_token)) + 2 * minute)
end
return answer
