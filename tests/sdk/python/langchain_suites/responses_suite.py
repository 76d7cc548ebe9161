"""LangChain's ChatOpenAI on responses."""

from langchain_openai import ChatOpenAI

from tests.sdk.python.support import HELD, MODEL, SHORT_HOPS


async def test_a_response_is_redirected_and_streamed(prompt: str) -> None:
    model = ChatOpenAI(model=MODEL, use_responses_api=True, default_headers=SHORT_HOPS)

    whole = await model.ainvoke(prompt + HELD)
    chunks = [chunk.text async for chunk in model.astream(prompt)]

    assert whole.text
    assert "".join(chunks)
