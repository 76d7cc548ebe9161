"""Submit calls: parse, accept, and hold the response while the caller prefers to wait."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field, replace

from common.api.auth_context import Caller
from common.api.json_body import read_body
from common.api.long_poll import WaitPreference
from common.submission.held_call import HeldCallService
from common.submission.idempotency import read_repeatable
from common.submission.limits import Limits
from common.submission.model import SubmitCall
from common.submission.service import SubmissionRouter
from functions.submit.parsing import parse_call, parse_workflow_call
from functions.submit.responses import AcceptedBody, ResultReader, SubmitResponse, accepted_response, held_response
from functions.submit.workflows import WorkflowCatalogue


@dataclass(frozen=True, slots=True)
class SubmitRequest:
    """Hold the HTTP request of a call: of prompts, or of the workflow that it names.

    `body` is as API Gateway passes it.
    """

    caller: Caller
    body: str | None = field(repr=False)
    preference: WaitPreference
    is_base64: bool = False
    idempotency_key: str | None = field(default=None, repr=False)
    workflow: str | None = None


class SubmitService:
    """Submit calls of any tenant."""

    def __init__(
        self,
        submissions: SubmissionRouter,
        held_calls: HeldCallService,
        store: ResultReader,
        *,
        limits: Limits,
        workflows: WorkflowCatalogue,
    ) -> None:
        """Create the service.

        Args:
            submissions: accepts calls.
            held_calls: waits for their tasks.
            store: reads their tasks.
            limits: bounds of one call.
            workflows: the workflows that callers can start.

        """
        self._submissions = submissions
        self._held_calls = held_calls
        self._store = store
        self._limits = limits
        self._workflows = workflows

    async def submit(self, request: SubmitRequest) -> SubmitResponse:
        """Accept a call, and hold its response as long as the caller prefers.

        Raises:
            CallerError: the call breaks a rule, or is refused for now; nothing was accepted.
            StoreUnavailable, QueueUnavailable: nothing was accepted; with an Idempotency-Key it is safe to repeat.

        """
        started = asyncio.get_running_loop().time()
        caller, workflow = request.caller, request.workflow
        document = read_body(request.body, is_base64=request.is_base64)
        call = self._parse(document, request)
        # The same inputs for another workflow are another request.
        digested = document if workflow is None else [workflow, document]
        repeatable = read_repeatable(request.idempotency_key, digested)
        accepted = await self._submissions.of(call.prompts).accept(caller.tenant, call, repeatable, caller.budgets)
        root = "" if workflow is None else "../"
        body = AcceptedBody.of(accepted, call.prompts, root)
        held = await self._held_calls.show(
            accepted.refs,
            request.preference,
            lambda: held_response(self._store, accepted, body, root),
            spent_seconds=asyncio.get_running_loop().time() - started,
        )
        if held is None:
            return accepted_response(accepted, body)
        return replace(held, headers=held.headers | request.preference.headers)

    def allowed_models(self, caller: Caller) -> Collection[str]:
        """Return the models and workflows of this service that the caller's key allows."""
        models = frozenset((*self._limits.models, *self._workflows.models))
        return models if caller.models is None else models & frozenset(caller.models)

    def _parse(self, document: object, request: SubmitRequest) -> SubmitCall:
        models = request.caller.models
        if request.workflow is None:
            return parse_call(document, self._limits.narrowed(models))
        return parse_workflow_call(document, self._workflows.find(request.workflow, models), self._limits)
