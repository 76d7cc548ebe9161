-- Note how far answers are.  KEYS: tasks.  ARGV: owner, percent, partial text? of each.
-- Answers for each 0 where the task is no longer the owner's, else 1. A lost record takes it from nobody: its answer
-- rebuilds it.
local highest_unfinished = 99

local function note(key, owner, percent, partial)
  local record = load(key)
  if not record then return 1 end
  if record.owner ~= owner then return 0 end
  if not partial then return 1 end
  set(key, {
    progress = math.max(record.progress, math.min(percent, highest_unfinished)), partial = partial, updated = now,
  })
  tell_step(key)
  return 1
end

local answers = {}
for place, key in ipairs(KEYS) do
  answers[place] = note(key, ARGV[3 * place - 2], tonumber(ARGV[3 * place - 1]), optional(ARGV[3 * place]))
end
return answers
