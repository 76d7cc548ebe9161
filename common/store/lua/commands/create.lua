-- Record a batch and its queued tasks, all or nothing.
-- KEYS: batch, tasks….
-- Arguments: nonce, digest?, deadline_in_ms, sending_lease_ms, metadata?, and of the header of every task retention_ms,
-- kind and webhook?; for each task an item: model, custom_id?.
-- Returns outcome, created_ms, deadline_ms and sending_until_ms, the end of the sending lease: until then this call may
-- send and accept the batch.
local digest, nonce, size = args.digest, args.nonce, #items
local retention_ms, sending_ms = tonumber(args.retention_ms), tonumber(args.sending_lease_ms)

local function answer(outcome, created, deadline, sending)
  return { 'outcome', outcome, 'created_ms', created, 'deadline_ms', deadline, 'sending_until_ms', sending }
end

-- A task that is there keeps its state, also where Redis has lost its batch.
local function write_tasks(created, deadline)
  for place, header in ipairs(items) do
    local key = KEYS[place + 1]
    if redis.call('EXISTS', key) == 0 then
      header.created_ms, header.deadline_ms, header.retention_ms = created, deadline, retention_ms
      header.kind = args.kind
      write_queued(key, header)
    end
  end
end

local found = redis.call('HMGET', KEYS[1],
  'size', 'created', 'deadline', 'digest', 'nonce', 'outcome', 'accepted', 'sending')
if not found[1] then
  local deadline = now + args.deadline_in_ms
  write_batch(KEYS[1], {
    size = size, created = now, deadline = deadline, retention = retention_ms,
    digest = digest, nonce = nonce, outcome = 'created', sending = now + sending_ms, metadata = args.metadata,
  })
  write_tasks(now, deadline)
  write_webhook(KEYS[1], args.webhook, size)
  return answer('created', now, deadline, now + sending_ms)
end

local created, deadline, sending = tonumber(found[2]), tonumber(found[3]), tonumber(found[8]) or 0
local known_digest = found[4]
-- A batch rebuilt from a message has no digest: a request with its key is treated as the one that made it.
if tonumber(found[1]) ~= size or (known_digest and known_digest ~= digest) then
  return answer('conflict', created, deadline, 0)
end
if found[5] == nonce then return answer(found[6], created, deadline, sending) end
-- Without a digest the ID is random: only a repeat of the same call has it.
if not digest then return answer('created', created, deadline, sending) end
if found[7] then return answer('accepted', created, deadline, 0) end
if now < sending then return answer('sending', created, deadline, 0) end

set(KEYS[1], {
  digest = digest, nonce = nonce, outcome = 'unsent', sending = now + sending_ms, metadata = args.metadata,
})
write_webhook(KEYS[1], args.webhook, size)
write_tasks(created, deadline)
return answer('unsent', created, deadline, now + sending_ms)
