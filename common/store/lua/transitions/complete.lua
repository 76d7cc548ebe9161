-- Write the answer of a task. The first answer wins, also one of a former owner.
-- KEYS: task, batch.
-- Arguments: header, owner, text, finish_reason?, usage?, response?, cost?, charge.
-- Returns {outcome, now}.
local by = 'complete:' .. args.owner

local record = load_or_rebuild()
if not record then return { 'already', now } end
if record.ended_by == by then return { 'ended', now } end
if is_terminal(record) then return { 'already', now } end

-- An answer costs an attempt, also where Redis has lost the attempt and its start.
if record.attempt == 0 then record.attempt, record.attempts = 1, with_attempt('') end

finish(KEYS[1], record, 'completed', now, by, {
  result = args.text, finish_reason = args.finish_reason, usage = args.usage,
  response = args.response, cost = args.cost, progress = 100, attempt = record.attempt,
})

-- A task ends once, so its charge is added to the batch once.
increment(KEYS[2], args.charge)
return { 'ended', now }
