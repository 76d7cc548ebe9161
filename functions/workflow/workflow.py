"""Define a workflow: a LangChain runnable with a name, an input model and a number of steps."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from langchain_core.runnables import Runnable
from langchain_openai import ChatOpenAI
from pydantic import BaseModel


class Chat(Protocol):
    """Factory of the models of a chain."""

    def __call__(self, model: str | None = None, **params: Any) -> ChatOpenAI:  # noqa: ANN401  # as ChatOpenAI takes them
        """Return a ChatOpenAI for a model (by default the service's default model) with these params.

        Its calls respect the service's limits, stream to the task, and are made once: an answer is stored as a
        checkpoint and reused if the workflow runs again. Await it (`ainvoke`, `abatch`) in your own functions.
        """


type Chain = Runnable[dict[str, Any], Any]
"""Takes the fields of an input, and returns text, a message, a pydantic model or a JSON value."""


def one_step(_: Any) -> int:  # noqa: ANN401  # whatever the input is
    """Return the number of model calls of a chain with a single one."""
    return 1


@dataclass(frozen=True, slots=True)
class Workflow[Input: BaseModel]:
    """A chain with a name for callers.

    `build` creates it once for each environment; the first line of its docstring is the description for callers.
    `steps` returns the number of model calls for an input, for the progress percentage.
    """

    name: str
    input: type[Input]
    build: Callable[[Chat], Chain]
    steps: Callable[[Input], int] = one_step

    @property
    def description(self) -> str:
        """Return the description for callers."""
        return (self.build.__doc__ or "").strip().partition("\n")[0]
