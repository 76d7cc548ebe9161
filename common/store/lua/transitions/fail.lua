-- Fail a task for good; only its owner may, or anybody where Redis had lost the record.
-- KEYS: task, batch.  ARGV: the message's six, owner, code, last code?, error type?, usage?, cost?,
-- the provider's error?, the text so far?, webhook?.  Answers the outcome.
local owner = ARGV[7]
local by = 'fail:' .. owner

local record, rebuilt = load_or_rebuild()
if not record then return 'already' end
if record.ended_by == by then return 'ended' end
if is_terminal(record) then return 'already' end
if not rebuilt and record.owner ~= owner then return 'lost' end

finish(KEYS[1], record, 'failed', now, by, {
  code = ARGV[8], last_code = optional(ARGV[9]), error_type = optional(ARGV[10]),
  usage = optional(ARGV[11]), cost = optional(ARGV[12]), provider_error = optional(ARGV[13]),
  partial = optional(ARGV[14]),
})
return 'ended'
