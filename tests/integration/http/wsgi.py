"""Serve the handlers as a WSGI application, for clients that speak HTTP."""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from tests.integration.http.client import Api, event_of
from tests.invocation import Context

type StartResponse = Callable[[str, list[tuple[str, str]]], object]


class Gateway:
    """Route as template.yaml does, for one tenant."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        headers = {
            name.removeprefix("HTTP_").replace("_", "-").title(): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        headers.pop("Prefer", None)  # held answers have their own tests, and each would take its time here
        if path.startswith("/openai/"):
            headers["Prefer"] = "wait=0"  # these are held by default
        size = int(environ.get("CONTENT_LENGTH") or 0)
        event = event_of(method, path, parse_qs(environ["QUERY_STRING"], keep_blank_values=True), self._api.tenant)
        event |= {"headers": headers, "body": environ["wsgi.input"].read(size).decode("utf-8", "surrogateescape")}
        if path.startswith("/openai/"):
            function = self._api.openai
        elif path.endswith("/cancel"):
            function = self._api.cancel
        else:
            is_submits = method == "POST" or path == "/workflows"
            function = self._api.submit if is_submits else self._api.status
        answer = function.lambda_handler(event, Context())
        status = HTTPStatus(answer["statusCode"])
        start_response(
            f"{status.value} {status.phrase}",
            [(name, values[0]) for name, values in answer["multiValueHeaders"].items()],
        )
        return [answer["body"].encode()]
