"""What the suites of all clients use."""

from typing import Final

from openai.types.chat import ChatCompletionUserMessageParam
from pydantic import BaseModel

MODEL: Final = "gpt-5-mini"
EMBEDDING_MODEL: Final = "text-embedding-3-small"

SHORT_HOPS: Final = {"Prefer": "wait=1"}
"""Each hop of a held call takes a second at most, so that a call of few seconds has several."""

HELD: Final = "[[latency:1.3]]"
"""In a prompt: the model takes longer than one short hop."""

LONG: Final = "[[latency:3.2]]"
"""The model takes longer than three of them."""


class Joke(BaseModel):
    """A structured output."""

    setup: str
    punchline: str
    rating: int


def say(prompt: str) -> list[ChatCompletionUserMessageParam]:
    """Return the messages of a prompt."""
    return [{"role": "user", "content": prompt}]
