"""Name every metric that Sluice writes, all in the namespace Sluice/<stack>. Standard library only.

Each is summed by `service`, the function that wrote it. Where it says so, it is also split by one thing more: by
`code`, which comes from a table of ours, or by `model`, which comes from the operator's list. Never by tenant or task:
there is no end to those, and CloudWatch takes money for every one. infra/observability.yaml draws them and raises
alarms on them.
"""

from enum import StrEnum


class Metric(StrEnum):
    """Name a metric; the values are what an operator's own dashboards and alarms are built on."""

    SUBMITTED = "TasksSubmitted"
    """Tasks that were answered with 202; a repeat of a call counts nothing."""
    CLIENT_ERRORS = "ClientErrors"
    """Requests answered with 4xx by a function; by code."""
    SERVER_ERRORS = "ServerErrors"
    """Requests answered with 5xx by a function; by code."""

    UNHELD = "CallsNotHeld"
    """Calls that asked to be held and were answered at once: as many are held as may be, of the tenant or of all."""

    UNKNOWN_KEYS = "UnknownKeys"
    """Requests with a key that nobody has."""
    KEYS_UNAVAILABLE = "KeysUnavailable"
    """Requests that could be neither let in nor refused, because the callers' keys can't be read."""

    # How a delivery ended, see EndingKind; by code where there is one.
    COMPLETED = "TasksCompleted"
    FAILED = "TasksFailed"
    DUPLICATE = "TasksDuplicate"
    RETRIED = "TasksRetried"
    RATE_LIMITED = "TasksRateLimited"
    """Each is a 429 about rate; the first of a task pauses its model."""
    STOPPED = "TasksStopped"
    HELD = "TasksHeld"
    UNSTARTED = "TasksUnstarted"
    UNACCEPTED = "TasksUnaccepted"
    DISCARDED = "TasksDiscarded"
    BUSY = "TasksBusy"
    LOST = "TasksLost"
    UNRECORDED = "TasksUnrecorded"
    UNAVAILABLE = "TasksUnavailable"
    UNREADABLE = "TasksUnreadable"
    TOO_NEW = "TasksTooNew"
    CRASHED = "TasksCrashed"
    """Deliveries in which an exception was raised that no rule knows, however they ended: each is a fault of ours."""

    CALLS = "Calls"
    """Model calls, whatever came of them; by model."""
    CALL_SECONDS = "CallSeconds"
    """How long each took; by model."""
    WAIT_SECONDS = "WaitSeconds"
    """From a task's acceptance to the call that completed it; by model."""
    PROMPT_TOKENS = "PromptTokens"
    COMPLETION_TOKENS = "CompletionTokens"
    CACHED_TOKENS = "CachedTokens"
    """As the provider counts them; by model."""
    COST = "Cost"
    """In US dollars, of calls whose price is known; by model."""
    SERVICE_REFUSED = "ServiceRefused"
    """Tasks that failed because of the operator's key, its rights, the account's money or the base URL; by code."""

    QUEUE_FAILURES = "QueueFailures"
    """Messages that come back when the queue likes, not when they are due."""
    FAULTS = "Faults"
    """Faults of ours that cost no delivery."""

    # What became of dead letters, see LetterKind.
    LETTERS_FAILED = "DeadLettersFailed"
    LETTERS_ALREADY = "DeadLettersAlready"
    LETTERS_BUSY = "DeadLettersBusy"
    LETTERS_UNAVAILABLE = "DeadLettersUnavailable"
    LETTERS_UNREADABLE = "DeadLettersUnreadable"

    # What became of a try to deliver an event, see DeliveryStatus; by code where there is one.
    WEBHOOKS_DELIVERED = "WebhooksDelivered"
    WEBHOOKS_PENDING = "WebhooksPending"
    """It was not taken, and will be tried again."""
    WEBHOOKS_FAILED = "WebhooksFailed"
    """It was given up."""
    WEBHOOKS_UNTRIED = "WebhooksUntried"
    """Nothing could be signed, or the message can't be read."""
    WEBHOOKS_UNDELIVERABLE = "WebhooksUndeliverable"
    """Its queue gave it up, since no try was made for long; counted where that is written down."""
