"""A fake model, SQS and Secrets Manager in a separate process, with as little CPU as possible.

The model answers at `/<milliseconds>/<chunks>/<faults in a hundred>/v1`: whole where there are no chunks, else as a
stream spread over the time. Each fault is one of: 500, a 429 that names its wait, a stream or body that is cut. SQS
keeps messages until they are deleted, with visibility; it counts its requests as AWS bills them. `GET /counts` tells
all counts.
"""

import asyncio
import hashlib
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any, Final

BILLED_BYTES: Final = 65_536
"""SQS bills each 64 KiB of a request as one."""

WORDS: Final = ("word ",) * 50
_HEAD: Final = b'{"id":"chatcmpl-1","created":1,"model":"stand-in","object":"chat.completion'
_USAGE: Final = b'"usage":{"prompt_tokens":10,"completion_tokens":50,"total_tokens":60}'
_FAULT_KINDS: Final = 3


def whole_answer() -> bytes:
    """Return the body of a response that is not streamed."""
    choice = json.dumps(
        {"index": 0, "message": {"role": "assistant", "content": "".join(WORDS)}, "finish_reason": "stop"}
    )
    return _HEAD + b'","choices":[' + choice.encode() + b"]," + _USAGE + b"}"


def chunks_of(number: int) -> list[bytes]:
    """Return the chunks of a streamed response: the texts, the finish reason, the usage and the end."""
    texts = [json.dumps({"index": 0, "delta": {"content": WORDS[0]}, "finish_reason": None}) for _ in range(number)]
    bodies = [_HEAD + b'.chunk","choices":[' + text.encode() + b'],"usage":null}' for text in texts]
    bodies.append(_HEAD + b'.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}')
    bodies.append(_HEAD + b'.chunk","choices":[],' + _USAGE + b"}")
    bodies.append(b"[DONE]")
    return [_framed(b"data: " + body + b"\n\n") for body in bodies]


def _framed(body: bytes) -> bytes:
    return f"{len(body):x}\r\n".encode() + body + b"\r\n"


def _message(status: str, body: bytes, kind: str = "application/json", more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n{more}content-length: {len(body)}\r\n\r\n"
    return head.encode() + body


_WHOLE: Final = _message("200 OK", whole_answer())
_STREAM: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_END: Final = b"0\r\n\r\n"
_ERROR: Final = _message("500 Internal Server Error", b'{"error":{"message":"made to fail"}}')
_LIMITED: Final = _message(
    "429 Too Many Requests", b'{"error":{"code":"rate_limit_exceeded"}}', more="retry-after-ms: 50\r\n"
)


_KEYS: Final = {hashlib.sha256(b"local").hexdigest(): {"tenant": "local"}}
_SECRETS: Final = {"sluice/api-keys": json.dumps(_KEYS), "sluice/openai-api-key": "sk-made-up"}


class Queue:
    """A queue like SQS: a received message is invisible until its visibility timeout ends or it is deleted."""

    def __init__(self) -> None:
        self._messages: dict[str, dict[str, Any]] = {}
        self._numbers = count()

    def send(self, body: str) -> dict[str, str]:
        """Take a message."""
        name = str(next(self._numbers))
        self._messages[name] = {"body": body, "receives": 0, "visible_at": 0.0}
        return {"MessageId": name, "MD5OfMessageBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()}

    def answer(self, action: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Answer one request."""
        entries = asked.get("Entries", [])
        match action:
            case "SendMessage":
                return self.send(asked["MessageBody"])
            case "SendMessageBatch":
                done = [{"Id": entry["Id"], **self.send(entry["MessageBody"])} for entry in entries]
                return {"Successful": done, "Failed": []}
            case "ReceiveMessage":
                return {"Messages": self._receive(asked.get("MaxNumberOfMessages", 1))}
            case "DeleteMessageBatch":
                for entry in entries:
                    self._messages.pop(entry["ReceiptHandle"], None)
            case "ChangeMessageVisibilityBatch":
                for entry in entries:
                    self._messages[entry["ReceiptHandle"]]["visible_at"] = time.monotonic() + entry["VisibilityTimeout"]
        return {"Successful": [{"Id": entry["Id"]} for entry in entries], "Failed": []}

    def _receive(self, most: int) -> list[dict[str, Any]]:
        now, found = time.monotonic(), []
        for name, message in self._messages.items():
            if message["visible_at"] > now:
                continue
            message["visible_at"] = now + 1800
            message["receives"] += 1
            attributes = {"ApproximateReceiveCount": str(message["receives"])}
            found.append({"MessageId": name, "ReceiptHandle": name, "Body": message["body"], "Attributes": attributes})
            if len(found) == most:
                break
        return found


class Services:
    """Hold what all connections share."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.queue = Queue()
        self.streams: dict[int, list[bytes]] = {}

    def answer(self, target: str, body: bytes) -> bytes:
        """Answer a request to AWS."""
        service, _, action = target.partition(".")
        self.counts[action] += 1
        if service == "secretsmanager":
            secret = json.dumps({"SecretString": _SECRETS[json.loads(body)["SecretId"]]})
            return _message("200 OK", secret.encode(), "application/x-amz-json-1.1")
        answer = json.dumps(self.queue.answer(action, json.loads(body))).encode()
        # What is received counts by its size, as what is sent does.
        self.counts["billed"] += -(-max(len(body), len(answer)) // BILLED_BYTES)
        return _message("200 OK", answer, "application/x-amz-json-1.0")


class Connection(asyncio.Protocol):
    """Serve HTTP/1.1 on a connection, one request at a time."""

    def __init__(self, services: Services, later: Callable[..., Any]) -> None:
        self._services = services
        self._later = later
        self._buffer = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # what a server of streams is given
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Respond when a request is complete."""
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        lower = head.lower()
        _, _, length = lower.partition(b"\r\ncontent-length:")
        size = int(length.partition(b"\r\n")[0] or 0)
        if not found or len(rest) < size:
            return
        self._buffer = rest[size:]
        path = head.split(b" ", 2)[1].decode()
        if path == "/counts":
            self._write(_message("200 OK", json.dumps(self._services.counts).encode()))
        elif path.endswith("/chat/completions"):
            self._model(path)
        else:
            target = lower.partition(b"\r\nx-amz-target:")[2].partition(b"\r\n")[0].strip().decode()
            name = head[lower.index(b"x-amz-target:") :].split(b"\r\n", 1)[0].split(b":", 1)[1].strip().decode()
            self._write(self._services.answer(name if target else "", rest[:size]))

    def _model(self, path: str) -> None:
        _, milliseconds, chunks, faults, *_ = path.split("/")
        seconds, number = int(milliseconds) / 1000, int(chunks)
        counts = self._services.counts
        counts["calls"] += 1
        if int(faults) and counts["calls"] % (100 // int(faults)) == 0:
            counts["faults"] += 1
            self._later(seconds, self._fail, counts["faults"] % _FAULT_KINDS)
        elif number:
            self._write(_STREAM)
            events = self._services.streams.setdefault(number, chunks_of(number))
            self._later(seconds / len(events), self._stream, events, 0, seconds / len(events))
        else:
            self._later(seconds, self._write, _WHOLE)

    def _stream(self, events: list[bytes], place: int, pause: float) -> None:
        if place == len(events) - 1:
            self._write(events[place] + _END)
            return
        self._write(events[place])
        self._later(pause, self._stream, events, place + 1, pause)

    def _fail(self, kind: int) -> None:
        if kind == 0:
            self._write(_ERROR)
        elif kind == 1:
            self._write(_LIMITED)
        else:
            self._write(_WHOLE[:-20])
            self._transport.close()

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)


async def serve() -> None:
    """Listen on loopback, print the port, and end with the parent process."""
    loop = asyncio.get_running_loop()
    services = Services()
    server = await loop.create_server(lambda: Connection(services, loop.call_later), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve())
