"""Say what a workflow is: a LangChain runnable with a name, an input and a number of steps."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from langchain_core.runnables import Runnable
from langchain_openai import ChatOpenAI
from pydantic import BaseModel


class Chat(Protocol):
    """Make the models of a chain."""

    def __call__(self, model: str | None = None, **params: Any) -> ChatOpenAI:  # noqa: ANN401  # as ChatOpenAI takes them
        """Return a ChatOpenAI for a model, the service's default one if none is named, with params of its own.

        Its calls keep to the service's limits, stream into the task, and are made once: an answer is kept beside the
        task's record and serves when the workflow is run again. Await it (`ainvoke`, `abatch`) in your own functions.
        """


type Chain = Runnable[dict[str, Any], Any]
"""Takes the fields of an input, and gives text, a message, a pydantic model or what JSON can hold."""


def one_step(_: Any) -> int:  # noqa: ANN401  # whatever the input is
    """Count the model calls of a chain that makes one."""
    return 1


@dataclass(frozen=True, slots=True)
class Workflow[Input: BaseModel]:
    """Name a chain for callers.

    `build` makes it, once for each environment; the first line of its docstring describes it to callers. `steps` says
    how many model calls an input takes, for the progress bar.
    """

    name: str
    input: type[Input]
    build: Callable[[Chat], Chain]
    steps: Callable[[Input], int] = one_step

    @property
    def description(self) -> str:
        """Return what callers are told of it."""
        return (self.build.__doc__ or "").strip().partition("\n")[0]
