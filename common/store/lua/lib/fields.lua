-- Arguments and hash fields. Times are milliseconds since 1970; an argument that may be absent is '' or '=' and its value.

local function optional(argument)
  if argument == '' then return nil end
  return string.sub(argument, 2)
end

-- Write fields of a hash. A field that is nil keeps its value.
local function set(key, fields)
  local flat = {}
  for name, value in pairs(fields) do
    flat[#flat + 1] = name
    flat[#flat + 1] = value
  end
  redis.call('HSET', key, unpack(flat))
end

-- Increment fields of a hash; the amounts are `name:amount`, separated by blanks.
local function increment(key, amounts)
  for name, amount in string.gmatch(amounts, '([%a_]+):(%d+)') do redis.call('HINCRBY', key, name, amount) end
end

-- Return the present value of a counter that halves every `half_life` ms.
local function decayed(number, since, half_life)
  return number and tonumber(number) * 2 ^ ((tonumber(since) - now) / half_life) or 0
end
