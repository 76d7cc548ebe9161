"""The options of a call, as keyword arguments of `submit` and `map`."""

from collections.abc import Mapping
from typing import Any, TypedDict

from sluice._prompts import Items


class CallOptions(TypedDict, total=False):
    """What holds for all prompts of a call; docs/api.md has the rules."""

    workflow: str | None
    """The workflow to start; the prompts, or `inputs`, are its inputs."""
    model: str | None
    """The model of prompts that name none."""
    system: str | None
    """The system prompt of prompts that have none."""
    params: Mapping[str, Any] | None
    """Parameters of the model, such as `temperature`."""
    metadata: Mapping[str, str] | None
    """Texts of your own, kept with the batch."""
    deadline_seconds: int | None
    """After how many seconds a task without a result fails."""
    retention_seconds: int | None
    """How many seconds the service keeps a result."""
    extra_body: Mapping[str, Any] | None
    """Fields of the call that this version does not know, such as `{"webhook": …}`."""


class SubmitOptions(CallOptions, total=False):
    """What one call takes beside the options of all calls."""

    template: str | None
    """Makes a prompt of each input: `{name}` is a variable."""
    inputs: Items[Mapping[str, Any]] | None
    """The values of the template's variables, or the inputs of a workflow."""
    endpoint: str | None
    """The endpoint of OpenAI's API that `requests` are for, such as `/v1/embeddings`."""
    requests: Items[Mapping[str, Any]] | None
    """Requests of this endpoint, each with `body` and perhaps `custom_id`, as the lines of an OpenAI batch."""
    idempotency_key: str | None
    """Names the call: repeated with the same key and body, it is accepted once."""
    wait_seconds: float
    """How long the service holds the answer until all tasks have ended, at most 25."""
