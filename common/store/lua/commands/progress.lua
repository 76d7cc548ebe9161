-- Note how far answers are, and renew their leases.  KEYS: tasks.  ARGV: owner, percent, partial text?, lease of each.
-- Answers for each 0 where the task is no longer the owner's, else 1. A lost record takes it from nobody: its answer
-- rebuilds it.
local highest_unfinished = 99

local function note(key, owner, percent, partial, lease_ms)
  local record = load(key)
  if not record then return 1 end
  if record.owner ~= owner then return 0 end
  set(key, { lease = now + lease_ms })
  if not partial then return 1 end
  set(key, {
    progress = math.max(record.progress, math.min(percent, highest_unfinished)), partial = partial, updated = now,
  })
  publish_step(key)
  return 1
end

local answers = {}
for place, key in ipairs(KEYS) do
  local last = 4 * place
  answers[place] = note(
    key, ARGV[last - 3], tonumber(ARGV[last - 2]), optional(ARGV[last - 1]), tonumber(ARGV[last]))
end
return answers
