"""Run a task's chain: validate its input, load the checkpoints of earlier attempts, and convert its output."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from langchain_core.messages import BaseMessage
from pydantic import BaseModel, ValidationError

from common.domain.errors import ModelRefused, SluiceError
from common.domain.message import TaskMessage
from common.domain.task import Answer, FailureCode, TaskRef
from common.worker.model_call import ProgressListener
from common.worker.text import paired
from functions.workflow.chain_run import ChainRun, as_current
from functions.workflow.workflow import Chain, Chat, Workflow

PARALLEL_STEPS: Final = 100
"""Maximum number of steps that one chain starts in parallel. The environment's concurrency limits those that run."""


class CheckpointReader(Protocol):
    """Store of completed steps; may raise StoreUnavailable."""

    async def steps(self, ref: TaskRef) -> Mapping[str, str]:
        """Return the encoded steps of earlier attempts, by name."""


class ChatModelFactory(Protocol):
    """Factory of the models of chains, with their shared parts."""

    @property
    def chat(self) -> Chat:
        """Return the function that creates a model."""

    async def prepare(self) -> None:
        """Fetch the provider's key; raise Unavailable without it."""

    async def close(self) -> None:
        """Close the connections."""


@dataclass(frozen=True, slots=True)
class _Built:
    workflow: Workflow[Any]
    chain: Chain


class WorkflowModel:
    """Run the workflows of this service; one instance for the lifetime of the environment, with all built chains."""

    def __init__(self, workflows: Sequence[Workflow[Any]], models: ChatModelFactory, steps: CheckpointReader) -> None:
        """Build the chains of the workflows.

        Args:
            workflows: the workflows of the service.
            models: factory of their models.
            steps: reads completed steps.

        """
        self._built = {workflow.name: _Built(workflow, workflow.build(models.chat)) for workflow in workflows}
        self._models = models
        self._steps = steps

    async def prepare(self) -> None:
        """Fetch the provider's key; raise Unavailable without it."""
        await self._models.prepare()

    async def close(self) -> None:
        """Close the connections."""
        await self._models.close()

    async def ask(self, message: TaskMessage, hear: ProgressListener, *, ends_at: float = math.inf) -> Answer:
        """Run a task's chain; afterwards none of its tasks runs, with any outcome.

        Raises:
            ModelError: a step failed. As ModelRefused: the workflow is unknown, the input is invalid, or the chain's
                own code raised; `kind` is then the type of the exception.
            CallHeld: the shared limits do not allow a step to start yet.
            Unavailable: the checkpoints cannot be read, or another worker has the lease.

        """
        built = self._built.get(message.task.model)
        if built is None:
            raise ModelRefused(FailureCode.UNKNOWN_WORKFLOW)
        try:
            given = built.workflow.input.model_validate(message.request.body)
        except ValidationError:
            # `from None`: the error quotes the input.
            raise ModelRefused(FailureCode.INVALID_INPUT) from None
        checkpoints = await self._steps.steps(message.task.ref)
        run = ChainRun(message, hear, checkpoints, built.workflow.steps(given), ends_at)
        with as_current(run):
            async with run.branches.ended():
                text = await _text_of(built.chain, given)
        return Answer(paired(text), run.finish_reason, run.usage, (), run.cost_nanos)


async def _text_of(chain: Chain, given: BaseModel) -> str:
    try:
        return _text(await chain.ainvoke(given.model_dump(), {"max_concurrency": PARALLEL_STEPS}))
    except SluiceError:
        raise
    except Exception as error:  # noqa: BLE001  # a chain may raise any exception
        raise ModelRefused(FailureCode.CHAIN_FAILED, kind=type(error).__qualname__) from None


def _text(output: object) -> str:
    if isinstance(output, str):
        return output
    if isinstance(output, BaseMessage):
        return str(output.text)
    if isinstance(output, BaseModel):
        return output.model_dump_json()
    return json.dumps(output)
