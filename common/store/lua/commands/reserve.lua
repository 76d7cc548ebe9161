-- Hand out start times: the next ones on a schedule that all workers share, one minute divided by its limit apart.
-- KEYS: rate, pause, the pauses of tenants.
-- ARGV: requests and tokens a minute (0: no limit), horizon, tokens used beyond those booked, the provider's requests and
-- tokens a minute (0: not named), its waits for requests and tokens, how long its word counts, after how long calls count
-- half, then the calls of each of the tenants that it let through, then the tokens of each start and the place of its tenant
-- (0: none).
-- Answers the wait of each start, what is left of its pause, and 1 where it was booked.
local minute = 60000
local horizon, used, word_ms = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[9])
local half_life = tonumber(ARGV[10])
local first_tenant, tenants = 11, #KEYS - 2
local first_start = first_tenant + tenants

local function left_of(key) return math.max(0, (tonumber(redis.call('HGET', key, 'until')) or 0) - now) end

local shared_pause = left_of(KEYS[2])
local paused = { [0] = shared_pause }
local let_through = 0
for place = 1, tenants do
  local key, calls = KEYS[place + 2], tonumber(ARGV[first_tenant + place - 1])
  paused[place] = math.max(shared_pause, left_of(key))
  let_through = let_through + calls
  -- The next pause is shorter then.
  if calls > 0 and redis.call('EXISTS', key) == 1 then redis.call('HSET', key, 'passed', 1) end
end
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

local answer = {}
local function tell(wait, pause, is_booked)
  for _, value in ipairs({ math.ceil(wait), pause, is_booked and 1 or 0 }) do answer[#answer + 1] = value end
end

local virtual_request, virtual_token = next_request, next_token
for place = first_start, #ARGV, 2 do
  local pause = paused[tonumber(ARGV[place + 1])]
  if pause > shared_pause then
    -- It asks again after the pause. A start booked behind it would hold up all other tenants until then.
    tell(pause, pause, false)
  else
    local start = now + pause
    if requests then start = math.max(start, virtual_request) end
    if tokens then start = math.max(start, virtual_token) end
    if requests then virtual_request = start + minute / requests end
    if tokens then virtual_token = start + tonumber(ARGV[place]) * minute / tokens end
    -- What does not fit is told when its turn would be, and takes no place from others.
    local fits = start - now <= horizon
    if fits then next_request, next_token = virtual_request, virtual_token end
    tell(start - now, pause, fits)
  end
end

if let_through > 0 then
  local known = redis.call('HMGET', KEYS[2], 'let_through', 'let_through_at')
  set(KEYS[2], {
    let_through = string.format('%.3f', decayed(known[1], known[2], half_life) + let_through), let_through_at = now, passed = 1,
  })
  redis.call('PEXPIREAT', KEYS[2], now + shared_pause + 3 * half_life)
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
