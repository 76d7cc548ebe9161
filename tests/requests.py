"""Build requests for tests."""

from typing import Any, Protocol

from common.domain.request import Kind, Request


def chat(content: object, /, **params: object) -> Request:
    """Ask a model with one message of the user."""
    return conversation([{"role": "user", "content": content}], **params)


def conversation(messages: list[dict[str, Any]], /, **params: object) -> Request:
    """Ask a model with these messages."""
    return Request(Kind.CHAT, {"messages": messages, **params})


def workflow(body: dict[str, Any], /) -> Request:
    """Run a workflow with this input."""
    return Request(Kind.WORKFLOW, body)


class Carrier(Protocol):
    """Carry a request, as a message or a prompt does."""

    @property
    def request(self) -> Request:
        """Return the request."""


def messages_of(message: Carrier) -> list[dict[str, Any]]:
    """Return the messages of a chat request."""
    messages: list[dict[str, Any]] = message.request.body["messages"]
    return messages


def params_of(message: Carrier) -> dict[str, Any]:
    """Return everything else that a chat request says."""
    return {name: value for name, value in message.request.body.items() if name != "messages"}
