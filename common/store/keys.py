"""Name every Redis key, its time to live and the limits of one script call, each with its unit and its reason."""

from typing import Final
from urllib.parse import quote

from common.domain.backlog import BacklogQueue
from common.domain.task import TaskRef

TASK_KEY: Final = "task:{{{tag}}}:{index}"
"""One hash per task. The braces are Redis Cluster's hash tag: a batch and its tasks live on one slot."""

BATCH_KEY: Final = "batch:{{{tag}}}"
"""One hash per batch: its size, its times and how far its acceptance got."""

CHANNEL: Final = "ends:{{{tag}}}"
"""One sharded channel per batch, on the slot of its tasks: the script that ends one of them tells it."""

STEP_CHANNEL: Final = "steps:{{{tag}}}:{index}"
"""One per task: a note of its progress, a claim or a release tells it. At most one message a second."""

# Every key expires. A task's key lives until `deadline + retention` while it is unfinished, because a task ends at its
# deadline at the latest, and until `ended + retention` once it has ended. A batch's key outlives those of its tasks.

STEPS_KEY: Final = "steps:{{{tag}}}:{index}"
"""One hash per task of a workflow: the model's answers to it so far. Nobody needs them after the task's deadline."""

SPEND_KEY: Final = "spend:{{{tenant}}}:{day}"
"""One hash per tenant and day: its sums. It is on another slot than the batches, which are spread over all."""

BOOKED_KEY: Final = "booked:{{{tenant}}}:{task_id}"
"""Marks that an answer is in its tenant's sums; on their slot, so that one script does both."""

CHARGED_KEY: Final = "booked:{{{tenant}}}:{task_id}:{name}"
"""Marks the same of what one attempt, or one step of a workflow, has cost beside an answer."""

BUDGETS_KEY: Final = "budgets:{{{tenant}}}"
"""One hash per tenant that has budgets: those of its last call, for the workers. On the slot of its sums."""

BUDGETS_KEPT_MS: Final = 10 * 86_400_000
"""A day longer than the longest deadline: until then a worker may ask for them."""

COUNTED_KEY: Final = "counted:{{{tenant}}}:{request}"
"""Marks that the tasks of a request are in its tenant's day, and which call has counted them. It lives until they are
taken back, or can't be any more."""

SPEND_KEPT_MS: Final = 40 * 86_400_000
"""How long a day's sums are kept after the last booking: a month can be summed up after its end."""

BOOKED_KEPT_MS: Final = 3_600_000
"""A booking is repeated within its invocation, 15 minutes at most, or never."""

SENDING_LEASE_MS: Final = 35_000
"""How long one call may be sending a batch before another may take over: API Gateway's 29 s and a grace. Until its end
workers hold the tasks of a batch that is not accepted; after it they drop its messages."""

LATE_CLAIM_WAIT_MS: Final = 1_000
"""What a claim waits that arrives after its own owner has let go: nobody reads that answer, so any small time does."""

READ_CHUNK: Final = 20
"""Records read by one script call: each may hold a long answer, and a script keeps the server from all others."""

CANCEL_CHUNK: Final = 100
"""Records cancelled by one script call, for the same reason; they are small."""

PROGRESS_CHUNK: Final = 20
"""Answers under way that are noted by one script call: each may be long."""


# Flow control. Model and tenant have keys on different slots; what one script touches shares a hash tag.

RATE_KEY: Final = "rate:{{{scope}}}"
"""One hash per scope: the next free start, and the limits that the provider named. It lives two minutes beyond that
start: by then nothing of it matters."""

PAUSE_KEY: Final = "pause:{{{scope}}}"
"""One hash per scope: until when it is paused, how long the next pause is, and what was let through and refused."""

TENANT_PAUSE_KEY: Final = "pause:{{{scope}}}:{tenant}"
"""One per tenant whose calls were refused: until when, how long the next pause is, and the task that was the last."""

TENANT_SLOTS_KEY: Final = "flights:{{{scope}}}"
"""One hash per tenant: each invocation's share of its calls in flight, and when that lease ends: what a dead worker
held is free again then. It lives as long as the longest lease."""

PROVIDER_WORD_MS: Final = 60_000
"""How long a limit counts that the provider named: it comes with every answer, and limits are per minute."""

INITIAL_PAUSE_MS: Final = 1_000
"""The pause after a 429 that names no time. The next one is twice as long, or half where calls were let through."""

LONGEST_PAUSE_MS: Final = 60_000
"""The longest pause, also at the provider's word. Its limits are per minute, and one call a minute finds out."""

PAUSE_MEMORY_MS: Final = 60_000
"""For how long after a pause the next 429 counts as one in a row."""

CALLS_HALF_LIFE_MS: Final = 300_000
"""After how long a call that was let through or refused counts half: long beside the longest pause, in which nothing is
learned. What is left after three of these is forgotten."""


# A tenant's messages in a queue, where the queue's depth has a cap.

BACKLOG_KEY: Final = "backlog:{{{tenant}}}:{queue}"
"""One sorted set for each tenant and queue: the tasks whose messages are in it, by when their places expire. It lives
as long as the last place."""

BACKLOG_GRACE_MS: Final = 3_600_000
"""How long after its task's deadline a place is kept that nobody gives back: a message past its deadline waits for a
worker like any other."""

BACKLOG_CHUNK: Final = 1_000
"""Tasks that one script call removes: Lua unpacks no more than some 8,000 values."""

# Calls whose answers are held: `Prefer: wait` and the steps of a stream.

HELD_KEY: Final = "held:{{{scope}}}"
"""One sorted set for each tenant and one for all: the calls that are held, by the end of their leases. It lives as long
as the last lease."""

ALL_TENANTS: Final = "all"
"""The scope of all tenants together; a tenant's own begins with `tenant/`."""

HOLD_LEASE_MS: Final = 30_000
"""How long a held call counts that does not end: more than the 28 s after which Lambda ends its function."""

# Transport retries: a repeat of a request joins the task that its first try created.

FIRST_TRY_KEY: Final = "joined:{{{tenant}}}:{digest}"
"""One string for each tenant and digest of a request: the idempotency key of the first try."""

FIRST_TRY_KEPT_MS: Final = 900_000
"""How long a transport retry finds its first try: an SDK gives up after ten minutes, and tries again soon after."""


def rate_key(scope: str) -> str:
    """Return the key of a scope's schedule."""
    return RATE_KEY.format(scope=_quoted(scope))


def pause_key(scope: str) -> str:
    """Return the key of a scope's pause."""
    return PAUSE_KEY.format(scope=_quoted(scope))


def tenant_pause_key(scope: str, tenant: str) -> str:
    """Return the key of a scope's pause for one tenant."""
    return TENANT_PAUSE_KEY.format(scope=_quoted(scope), tenant=_quoted(tenant))


def tenant_slots_key(scope: str) -> str:
    """Return the key of a tenant's calls in flight."""
    return TENANT_SLOTS_KEY.format(scope=_quoted(scope))


def backlog_key(tenant: str, queue: BacklogQueue) -> str:
    """Return the key of a tenant's messages in a queue."""
    return BACKLOG_KEY.format(tenant=_quoted(tenant), queue=queue)


def held_key(scope: str) -> str:
    """Return the key of the held calls of a tenant, or of all."""
    return HELD_KEY.format(scope=_quoted(scope))


def first_try_key(tenant: str, digest: str) -> str:
    """Return the key of the idempotency key of a request's first try."""
    return FIRST_TRY_KEY.format(tenant=_quoted(tenant), digest=digest)


def task_key(ref: TaskRef) -> str:
    """Return the key of a task's record."""
    return TASK_KEY.format(tag=_tag(ref.tenant, ref.batch_id), index=ref.index)


def batch_key(tenant: str, batch_id: str) -> str:
    """Return the key of a batch's record."""
    return BATCH_KEY.format(tag=_tag(tenant, batch_id))


def steps_key(ref: TaskRef) -> str:
    """Return the key of what a workflow's steps were answered."""
    return STEPS_KEY.format(tag=_tag(ref.tenant, ref.batch_id), index=ref.index)


def channel(tenant: str, batch_id: str) -> str:
    """Return the channel that tells the ends of a batch's tasks."""
    return CHANNEL.format(tag=_tag(tenant, batch_id))


def step_channel(ref: TaskRef) -> str:
    """Return the channel that tells the steps of a task."""
    return STEP_CHANNEL.format(tag=_tag(ref.tenant, ref.batch_id), index=ref.index)


def spend_key(tenant: str, day: str) -> str:
    """Return the key of a tenant's sums of a day, `yyyy-mm-dd`."""
    return SPEND_KEY.format(tenant=_quoted(tenant), day=day)


def budgets_key(tenant: str) -> str:
    """Return the key of a tenant's budgets."""
    return BUDGETS_KEY.format(tenant=_quoted(tenant))


def counted_key(tenant: str, request: str) -> str:
    """Return the key that marks the tasks of a request as counted."""
    return COUNTED_KEY.format(tenant=_quoted(tenant), request=request)


def booked_key(ref: TaskRef) -> str:
    """Return the key that marks a task's answer as booked."""
    return BOOKED_KEY.format(tenant=_quoted(ref.tenant), task_id=ref.task_id)


def charged_key(ref: TaskRef, name: str) -> str:
    """Return the key that marks as booked what an attempt of this owner, or a step of this name, has cost."""
    return CHARGED_KEY.format(tenant=_quoted(ref.tenant), task_id=ref.task_id, name=name)


def _tag(tenant: str, batch_id: str) -> str:
    return f"{_quoted(tenant)}/{batch_id}"


def _quoted(text: str) -> str:
    # A brace in a name would end the hash tag early and spread its keys over several slots.
    return quote(text, safe="", errors="surrogatepass")
