-- Named arguments, named answers and hash fields. Times are milliseconds since 1970.

-- ARGV holds name/value pairs; an argument that is absent is omitted. The name `item` starts the arguments of one item of
-- a list.
local args, items = {}, {}
do
  local target = args
  for place = 1, #ARGV, 2 do
    if ARGV[place] == 'item' then
      target = {}
      items[#items + 1] = target
    else
      target[ARGV[place]] = ARGV[place + 1]
    end
  end
end

-- Return name/value pairs of a table, for HSET and for the answer of a script. A field that is nil is omitted.
local function pairs_of(fields)
  local flat = {}
  for name, value in pairs(fields) do
    flat[#flat + 1] = name
    flat[#flat + 1] = value
  end
  return flat
end

-- Write fields of a hash. A field that is nil keeps its value.
local function set(key, fields)
  redis.call('HSET', key, unpack(pairs_of(fields)))
end

-- Increment fields of a hash by the amounts of a JSON object.
local function increment(key, amounts)
  for name, amount in pairs(cjson.decode(amounts)) do redis.call('HINCRBY', key, name, string.format('%.0f', amount)) end
end

-- Return the present value of a counter that halves every `half_life` ms.
local function decayed(number, since, half_life)
  return number and tonumber(number) * 2 ^ ((tonumber(since) - now) / half_life) or 0
end
