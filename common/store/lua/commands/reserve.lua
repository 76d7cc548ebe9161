-- Reserve start times: the next ones on a schedule that all workers share, one minute divided by its limit apart.
-- KEYS: rate, pause, the pauses of tenants….
-- Arguments: requests and tokens, the limits a minute (absent: none), horizon_ms, used_tokens beyond those reserved,
-- provider_requests and provider_tokens, the provider's limits (absent: not named), request_wait_ms and token_wait_ms, its
-- waits, limits_ttl_ms, how long its limits count, half_life_ms of calls, and let_through, a JSON list: the calls of each
-- tenant that the provider let through. For each start an item: tokens, and place, that of its tenant (absent: none).
-- Returns three lists: wait_ms of each start, pause_ms, the rest of its pause, and reserved, 1 where it was reserved.
local minute = 60000
local horizon, used, limits_ttl = tonumber(args.horizon_ms), tonumber(args.used_tokens), tonumber(args.limits_ttl_ms)
local half_life = tonumber(args.half_life_ms)

local function left_of(key) return math.max(0, (tonumber(redis.call('HGET', key, 'until')) or 0) - now) end

local shared_pause = left_of(KEYS[2])
local paused = { [0] = shared_pause }
local let_through = 0
for place, calls in ipairs(cjson.decode(args.let_through)) do
  local key = KEYS[place + 2]
  paused[place] = math.max(shared_pause, left_of(key))
  let_through = let_through + calls
  -- The next pause is shorter then.
  if calls > 0 and redis.call('EXISTS', key) == 1 then redis.call('HSET', key, 'passed', 1) end
end
local found = redis.call('HMGET', KEYS[1],
  'next_request', 'next_token', 'provider_requests', 'requests_until', 'provider_tokens', 'tokens_until')

-- Return the lower of our limit and the provider's, which expires, and the limit that the provider names now.
local function limit_of(ours, named, known, known_until)
  ours, named = tonumber(ours), tonumber(named)
  if not ours then return nil, nil end
  if named then return math.min(ours, named), named end
  if known and now < tonumber(known_until) then return math.min(ours, tonumber(known)), nil end
  return ours, nil
end

local requests, provider_requests = limit_of(args.requests, args.provider_requests, found[3], found[4])
local tokens, provider_tokens = limit_of(args.tokens, args.provider_tokens, found[5], found[6])
local next_request = math.max(tonumber(found[1]) or 0, now + args.request_wait_ms)
local next_token = math.max(tonumber(found[2]) or 0, now + args.token_wait_ms)
if tokens then next_token = next_token + used * minute / tokens end

local waits, pauses, reserved = {}, {}, {}
local virtual_request, virtual_token = next_request, next_token
for place, item in ipairs(items) do
  local pause = paused[tonumber(item.place) or 0]
  pauses[place] = pause
  if pause > shared_pause then
    -- It asks again after the pause. A start reserved behind it would delay all other tenants until then.
    waits[place], reserved[place] = math.ceil(pause), 0
  else
    local start = now + pause
    if requests then start = math.max(start, virtual_request) end
    if tokens then start = math.max(start, virtual_token) end
    if requests then virtual_request = start + minute / requests end
    if tokens then virtual_token = start + item.tokens * minute / tokens end
    -- A start beyond the horizon learns its wait and takes no place from others.
    local fits = start - now <= horizon
    if fits then next_request, next_token = virtual_request, virtual_token end
    waits[place], reserved[place] = math.ceil(start - now), fits and 1 or 0
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
  if provider_requests then
    fields.provider_requests, fields.requests_until = provider_requests, now + limits_ttl
  end
  if provider_tokens then
    fields.provider_tokens, fields.tokens_until = provider_tokens, now + limits_ttl
  end
  set(KEYS[1], fields)
  redis.call('PEXPIREAT', KEYS[1], math.ceil(math.max(now, next_request, next_token)) + 2 * minute)
end
return { 'wait_ms', waits, 'pause_ms', pauses, 'reserved', reserved }
