"""Run a task's chain: check its input, take up what former attempts have done, and make an answer of what it gives."""

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
"""Steps that one chain starts side by side, at most. How many really run, the environment's own limit says."""


class CheckpointReader(Protocol):
    """Keep finished steps; may raise StoreUnavailable."""

    async def steps(self, ref: TaskRef) -> Mapping[str, str]:
        """Return what former attempts have kept, by name."""


class ChatModelFactory(Protocol):
    """Make the models of chains, and keep what they share."""

    @property
    def chat(self) -> Chat:
        """Return what makes them."""

    async def prepare(self) -> None:
        """Make sure that a call can be made, or raise Unavailable."""

    async def close(self) -> None:
        """Close the connections."""


@dataclass(frozen=True, slots=True)
class _Built:
    workflow: Workflow[Any]
    chain: Chain


class WorkflowModel:
    """Run the workflows of this service. One for the life of the environment: it keeps the chains that were built."""

    def __init__(self, workflows: Sequence[Workflow[Any]], models: ChatModelFactory, steps: CheckpointReader) -> None:
        """Take the workflows, what makes their models, and where steps are kept."""
        self._built = {workflow.name: _Built(workflow, workflow.build(models.chat)) for workflow in workflows}
        self._models = models
        self._steps = steps

    async def prepare(self) -> None:
        """Make sure that a call can be made; raise Unavailable without the provider's key."""
        await self._models.prepare()

    async def close(self) -> None:
        """Close the connections."""
        await self._models.close()

    async def ask(self, message: TaskMessage, hear: ProgressListener, *, ends_at: float = math.inf) -> Answer:
        """Run a task's chain to its end; nothing of it runs on then, however it ended.

        Raises:
            ModelError: a step failed; or as ModelRefused the task asks for no workflow that there is, its input is not
                what the workflow takes, or the chain itself raised, whose `kind` is the exception's type.
            CallHeld: our own limits do not let a step start yet.
            Unavailable: the store does not tell what former attempts have done, or the task is another's by now.

        """
        built = self._built.get(message.task.model)
        if built is None:
            raise ModelRefused(FailureCode.UNKNOWN_WORKFLOW)
        try:
            given = built.workflow.input.model_validate(message.request.body)
        except ValidationError:
            # `from None`: it quotes the input.
            raise ModelRefused(FailureCode.INVALID_INPUT) from None
        kept = await self._steps.steps(message.task.ref)
        run = ChainRun(message, hear, kept, built.workflow.steps(given), ends_at)
        with as_current(run):
            async with run.branches.ended():
                text = await _text_of(built.chain, given)
        return Answer(paired(text), run.finish_reason, run.usage, (), run.cost_nanos)


async def _text_of(chain: Chain, given: BaseModel) -> str:
    try:
        return _text(await chain.ainvoke(given.model_dump(), {"max_concurrency": PARALLEL_STEPS}))
    except SluiceError:
        raise
    except Exception as error:  # noqa: BLE001  # a chain is free to raise what it likes
        raise ModelRefused(FailureCode.CHAIN_FAILED, kind=type(error).__qualname__) from None


def _text(output: object) -> str:
    if isinstance(output, str):
        return output
    if isinstance(output, BaseMessage):
        return str(output.text)
    if isinstance(output, BaseModel):
        return output.model_dump_json()
    return json.dumps(output)
