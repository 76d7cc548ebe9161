-- Write the progress of answers and renew their leases.
-- KEYS: tasks….  Arguments: for each task an item: owner, percent, partial?, lease_ms.
-- Returns for each task 0 where another owner has it, else 1. A record that Redis has lost has no other owner: the answer
-- rebuilds it.
local highest_unfinished = 99

local function write(key, item)
  local record = load(key)
  if not record then return 1 end
  if record.owner ~= item.owner then return 0 end
  set(key, { lease = now + item.lease_ms })
  if not item.partial then return 1 end
  set(key, {
    progress = math.max(record.progress, math.min(tonumber(item.percent), highest_unfinished)),
    partial = item.partial, updated = now,
  })
  publish_step(key)
  return 1
end

local answers = {}
for place, key in ipairs(KEYS) do answers[place] = write(key, items[place]) end
return answers
