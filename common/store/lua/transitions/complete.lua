-- Write the answer: the first result wins, whoever brings it.
-- KEYS: task, batch.
-- ARGV: the message's six, owner, text, finish reason?, usage?, response?, cost?, charge, webhook?.
-- Answers {outcome, now}.
local by = 'complete:' .. ARGV[7]

local record = load_or_rebuild()
if not record then return { 'already', now } end
if record.ended_by == by then return { 'ended', now } end
if is_terminal(record) then return { 'already', now } end

-- An answer has cost an attempt, also where Redis has lost it, and with it its beginning.
if record.attempt == 0 then record.attempt, record.attempts = 1, with_attempt('') end

finish(KEYS[1], record, 'completed', now, by, {
  result = ARGV[8], finish_reason = optional(ARGV[9]), usage = optional(ARGV[10]),
  response = optional(ARGV[11]), cost = optional(ARGV[12]), progress = 100, attempt = record.attempt,
})

-- The batch's sums, once: a task ends once.
increment(KEYS[2], ARGV[13])
return { 'ended', now }
