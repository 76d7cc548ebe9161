"""Define every metric of Sluice, in the namespace Sluice/<stack>. Standard library only.

Each metric has the dimension `service`, the function that wrote it. Some have a second dimension: `code`, from a fixed
table, or `model`, from the operator's list. Tenants and tasks are never dimensions: their number is unlimited, and
CloudWatch bills each combination. infra/observability.yaml has the dashboard and the alarms.
"""

from enum import StrEnum


class Metric(StrEnum):
    """The metrics; operators' dashboards and alarms depend on the values."""

    SUBMITTED = "TasksSubmitted"
    """Accepted tasks; repeats of a call are not counted."""
    CLIENT_ERRORS = "ClientErrors"
    """Requests answered with 4xx by a function; by code."""
    SERVER_ERRORS = "ServerErrors"
    """Requests answered with 5xx by a function; by code."""

    UNHELD = "CallsNotHeld"
    """Calls with `Prefer: wait` that were answered at once, because of a limit of held calls."""

    UNKNOWN_KEYS = "UnknownKeys"
    """Requests with an unknown key."""
    KEYS_UNAVAILABLE = "KeysUnavailable"
    """Requests that could not be authenticated, because the callers' keys cannot be read."""

    # Outcomes of deliveries; by code if there is one.
    COMPLETED = "TasksCompleted"
    FAILED = "TasksFailed"
    DUPLICATE = "TasksDuplicate"
    RETRIED = "TasksRetried"
    RATE_LIMITED = "TasksRateLimited"
    """429s because of a rate limit; the first one of a task pauses its model."""
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
    """Deliveries with an unexpected exception, independent of their outcome: each is a bug."""

    CALLS = "Calls"
    """Model calls with any outcome; by model."""
    CALL_SECONDS = "CallSeconds"
    """Duration of each call; by model."""
    WAIT_SECONDS = "WaitSeconds"
    """Time from a task's acceptance to the call that completed it; by model."""
    PROMPT_TOKENS = "PromptTokens"
    COMPLETION_TOKENS = "CompletionTokens"
    CACHED_TOKENS = "CachedTokens"
    """Tokens as the provider counts them; by model."""
    COST = "Cost"
    """Cost in US dollars of calls with a known price; by model."""
    SERVICE_REFUSED = "ServiceRefused"
    """Tasks that failed because of the operator's key, its permissions, the account's money or the URL; by code."""

    QUEUE_FAILURES = "QueueFailures"
    """Messages that are redelivered after the visibility timeout, because a delay could not be set."""
    FAULTS = "Faults"
    """Internal errors that did not affect a delivery."""

    # Outcomes of dead letters, see DeadLetterOutcome.
    LETTERS_FAILED = "DeadLettersFailed"
    LETTERS_ALREADY = "DeadLettersAlready"
    LETTERS_BUSY = "DeadLettersBusy"
    LETTERS_UNAVAILABLE = "DeadLettersUnavailable"
    LETTERS_UNREADABLE = "DeadLettersUnreadable"

    # Outcomes of tries to deliver an event, see WebhookDeliveryStatus; by code if there is one.
    WEBHOOKS_DELIVERED = "WebhooksDelivered"
    WEBHOOKS_PENDING = "WebhooksPending"
    """The event was not delivered and will be tried again."""
    WEBHOOKS_FAILED = "WebhooksFailed"
    """The event was abandoned."""
    WEBHOOKS_UNTRIED = "WebhooksUntried"
    """The event could not be signed, or the message could not be decoded."""
    WEBHOOKS_UNDELIVERABLE = "WebhooksUndeliverable"
    """Events in the dead-letter queue; the receipt function counts them."""
