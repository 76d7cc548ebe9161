"""Convert a model's answer to a LangChain message, and a chain's schema to the `response_format` of a request."""

import json
from typing import Any

import openai
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, InvalidToolCall, ToolCall
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.output_parsers.openai_tools import make_invalid_tool_call, parse_tool_call
from pydantic import BaseModel

from common.domain import task
from common.domain.task import Answer, ToolKind, Usage


def response_format_of(schema: object) -> object:
    """Return the `response_format` of a request; convert a pydantic model, which LangChain accepts too."""
    if not (isinstance(schema, type) and issubclass(schema, BaseModel)):
        return schema
    function = openai.pydantic_function_tool(schema)["function"]
    named = {"name": function["name"], "schema": function["parameters"], "strict": True}
    return {"type": "json_schema", "json_schema": named}


def message_of(answer: Answer, model: str, schema: object = None) -> AIMessage:
    """Return an answer as the message that LangChain's ChatOpenAI would return."""
    calls: list[ToolCall] = []
    invalid: list[InvalidToolCall] = []
    for call in answer.tool_calls:
        _add(call, calls, invalid)
    return AIMessage(
        content=answer.text,
        additional_kwargs=_parsed(answer, schema) | ({"refusal": answer.refusal} if answer.refusal else {}),
        response_metadata={
            "finish_reason": answer.finish_reason,
            "model_name": model,
            "model_provider": "openai",
        },
        tool_calls=calls,
        invalid_tool_calls=invalid,
        usage_metadata=None if answer.usage is None else _usage_metadata(answer.usage),
    )


def _add(call: task.ToolCall, calls: list[ToolCall], invalid: list[InvalidToolCall]) -> None:
    if call.kind is ToolKind.CUSTOM:  # its input is text, which LangChain calls `__arg1`
        calls.append(ToolCall(type="tool_call", name=call.name, args={"__arg1": call.arguments}, id=call.call_id))
        return
    raw: dict[str, Any] = {"id": call.call_id, "function": {"name": call.name, "arguments": call.arguments}}
    try:
        parsed = parse_tool_call(raw, return_id=True)
    except OutputParserException as error:
        invalid.append(make_invalid_tool_call(raw, str(error)))
        return
    if parsed is not None:
        calls.append(ToolCall(type="tool_call", name=parsed["name"], args=parsed["args"], id=parsed["id"]))


def _parsed(answer: Answer, schema: object) -> dict[str, Any]:
    """Return the `parsed` object that LangChain's parser of structured answers requires."""
    if not isinstance(schema, type):
        return {}
    try:
        value = json.loads(answer.text)
    except (ValueError, RecursionError):
        return {}
    return {"parsed": value} if isinstance(value, dict) else {}


def _usage_metadata(usage: Usage) -> UsageMetadata:
    return UsageMetadata(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
        input_token_details=InputTokenDetails(cache_read=usage.cached_tokens),
    )
