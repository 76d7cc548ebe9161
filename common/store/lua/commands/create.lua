-- Record a batch and its queued tasks, all or nothing.
-- KEYS: batch, tasks…
-- ARGV: digest?, nonce, deadline in, retention, sending lease, metadata?, webhook?, kind, then (model, custom_id?) of each task.
-- Answers {outcome, created, deadline, the end of the sending lease}: until then this call may send and accept the batch.
local digest, nonce = optional(ARGV[1]), ARGV[2]
local retention, sending_ms = tonumber(ARGV[4]), tonumber(ARGV[5])
local metadata = optional(ARGV[6])
local hook = optional(ARGV[7])
local kind = ARGV[8]
local first_task = 9

-- A task that is there keeps what it has become, even where Redis has lost its batch.
local function write_tasks(created, deadline)
  for place = 2, #KEYS do
    if redis.call('EXISTS', KEYS[place]) == 0 then
      local argument = first_task + 2 * (place - 2)
      write_queued(KEYS[place], {
        created = created, deadline = deadline, retention = retention,
        kind = kind, model = ARGV[argument], custom_id = optional(ARGV[argument + 1]),
      })
    end
  end
end

local size = #KEYS - 1
local found = redis.call('HMGET', KEYS[1],
  'size', 'created', 'deadline', 'digest', 'nonce', 'outcome', 'accepted', 'sending')
if not found[1] then
  local deadline = now + tonumber(ARGV[3])
  write_batch(KEYS[1], {
    size = size, created = now, deadline = deadline, retention = retention,
    digest = digest, nonce = nonce, outcome = 'created', sending = now + sending_ms, metadata = metadata,
  })
  write_tasks(now, deadline)
  write_webhook(KEYS[1], hook, size)
  return { 'created', now, deadline, now + sending_ms }
end

local created, deadline, sending = tonumber(found[2]), tonumber(found[3]), tonumber(found[8]) or 0
local known_digest = found[4]
-- A batch rebuilt from a message has no digest: the request that comes with its key is taken for the one that made it.
if tonumber(found[1]) ~= size or (known_digest and known_digest ~= digest) then
  return { 'conflict', created, deadline, 0 }
end
if found[5] == nonce then return { found[6], created, deadline, sending } end
-- Without a digest the id is random: only the same call can come with it again.
if not digest then return { 'created', created, deadline, sending } end
if found[7] then return { 'accepted', created, deadline, 0 } end
if now < sending then return { 'sending', created, deadline, 0 } end

set(KEYS[1], {
  digest = digest, nonce = nonce, outcome = 'unsent', sending = now + sending_ms, metadata = metadata,
})
write_webhook(KEYS[1], hook, size)
write_tasks(created, deadline)
return { 'unsent', created, deadline, now + sending_ms }
