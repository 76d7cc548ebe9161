-- Fail a task for good. Only its owner may, or any caller where Redis had lost the record.
-- KEYS: task, batch.
-- Arguments: header, owner, code, last_code?, error_type?, usage?, cost?, provider_error?, partial?, the text so far.
-- Returns the outcome.
local by = 'fail:' .. args.owner

local record, rebuilt = load_or_rebuild()
if not record then return 'already' end
if record.ended_by == by then return 'ended' end
if is_terminal(record) then return 'already' end
if not rebuilt and record.owner ~= args.owner then return 'lost' end

finish(KEYS[1], record, 'failed', now, by, {
  code = args.code, last_code = args.last_code, error_type = args.error_type,
  usage = args.usage, cost = args.cost, provider_error = args.provider_error, partial = args.partial,
})
return 'ended'
