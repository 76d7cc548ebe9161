"""Parse requests to SQS at the proxy, and build rare responses of SQS."""

import json

from tests.faults.framing import is_whole_message
from tests.faults.proxy import Exchange, Sees

_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0"


def calls(operation: str) -> Sees:
    """See the requests of one operation."""
    name = f"amazonsqs.{operation}\r\n".lower().encode()
    return lambda request: name in request.partition(b"\r\n\r\n")[0].lower() + b"\r\n"


async def refuse_the_first_message(exchange: Exchange) -> None:
    """Let SendMessageBatch take all messages but the first, and answer 200 all the same."""
    head, _, body = exchange.request.partition(b"\r\n\r\n")
    asked = json.loads(body)
    refused, *taken = asked["Entries"]
    failure = {"Id": refused["Id"], "SenderFault": False, "Code": "InternalError", "Message": "Try again."}
    if not taken:
        await exchange.answer(_message(_OK, json.dumps({"Successful": [], "Failed": [failure]}).encode()))
        return
    exchange.request = _message(head, json.dumps(asked | {"Entries": taken}).encode())
    await exchange.forward()
    reply = await exchange.reply(is_whole_message)
    head, _, body = reply.partition(b"\r\n\r\n")
    await exchange.answer(_message(head, json.dumps(json.loads(body) | {"Failed": [failure]}).encode()))


def _message(head: bytes, body: bytes) -> bytes:
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length:")]
    return b"\r\n".join([*lines, f"Content-Length: {len(body)}".encode(), b"", body])
