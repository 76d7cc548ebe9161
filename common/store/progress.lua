-- Note how far an answer is.  KEYS: task.  ARGV: owner, percent, partial text?.
-- Answers 0 where the task is no longer the owner's, else 1. A lost record takes it from nobody: its answer rebuilds it.
local record = load(KEYS[1])
if not record then return 1 end
if record.owner ~= ARGV[1] then return 0 end
local partial = optional(ARGV[3])
if not partial then return 1 end

local highest_unfinished = 99
set(KEYS[1], {
  progress = math.max(record.progress, math.min(tonumber(ARGV[2]), highest_unfinished)),
  partial = partial, updated = now,
})
tell_step(KEYS[1])
return 1
