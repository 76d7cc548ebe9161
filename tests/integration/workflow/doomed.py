"""Run the workflow worker's handler on one event, in a process that a test may kill.

Usage: python -m tests.integration.workflow.doomed FIRST SECOND, the prompts of the two steps. It reads the event
from its input, says `between` between the steps, and goes on when its input has another line.
"""

import json
import sys

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough
from pydantic import BaseModel

from functions.workflow import chains
from functions.workflow.workflow import Chain, Chat, Workflow
from tests.invocation import Context, started


class Given(BaseModel):
    """What the chain takes."""

    word: str


def two_steps(first: str, second: str, *, stops_between: bool = False) -> Workflow[Given]:
    """Make a workflow of two model calls, each with a text that may hold a fault for the stand-in model."""

    def between(given: dict[str, str]) -> dict[str, str]:
        if stops_between:
            sys.stdout.write("between\n")
            sys.stdout.flush()
            sys.stdin.readline()
        return given

    def build(chat: Chat) -> Chain:
        one = ChatPromptTemplate.from_template(first + " {word}") | chat() | StrOutputParser()
        two = ChatPromptTemplate.from_template(second + " {word}") | chat() | StrOutputParser()
        return RunnablePassthrough.assign(one=one) | between | two

    return Workflow("two", Given, build, steps=lambda _: 2)


def main() -> None:
    """Handle the event."""
    first, second = sys.argv[1:]
    chains.WORKFLOWS = (two_steps(first, second, stops_between=True),)  # type: ignore[assignment,misc]  # the test's own
    started("workflow").lambda_handler(json.loads(sys.stdin.readline()), Context("workflow"))


if __name__ == "__main__":
    main()
