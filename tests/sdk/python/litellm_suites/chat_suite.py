"""LiteLLM, with and without asyncio."""

from collections.abc import Callable
from typing import Any

import litellm
import pytest

from tests.sdk.python.support import HELD, MODEL, SHORT_HOPS, Joke, say

LITELLM_MODEL = f"openai/{MODEL}"


def request(prompt: str, **options: object) -> dict[str, Any]:
    return {"model": LITELLM_MODEL, "messages": say(prompt), "extra_headers": SHORT_HOPS, **options}


def test_a_completion_is_redirected_until_its_answer_is_there(prompt: str, calls: Callable[[str], int]) -> None:
    completion = litellm.completion(**request(prompt + HELD))

    assert completion.choices[0].message.content
    assert completion.usage.total_tokens > 0
    assert calls(prompt + HELD) == 1


async def test_an_asynchronous_completion_is_redirected_in_the_same_way(
    prompt: str, calls: Callable[[str], int]
) -> None:
    completion = await litellm.acompletion(**request(prompt + HELD))

    assert completion.choices[0].message.content
    assert calls(prompt + HELD) == 1


async def test_a_stream_yields_the_answer(prompt: str) -> None:
    stream = await litellm.acompletion(**request(prompt, stream=True))

    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert text == litellm.completion(**request(prompt)).choices[0].message.content


def test_a_structured_output_has_its_schema(prompt: str) -> None:
    completion = litellm.completion(**request(prompt, response_format=Joke))

    Joke.model_validate_json(completion.choices[0].message.content)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"temperature": 3}, litellm.BadRequestError),
        ({"api_key": "wrong"}, litellm.AuthenticationError),
        ({"messages": say("[[fault:quota]]")}, litellm.RateLimitError),
        ({"messages": say("[[fault:context]]")}, litellm.BadRequestError),
    ],
)
def test_a_failure_raises_the_class_for_it(change: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        litellm.completion(**request("Hello", **change))
