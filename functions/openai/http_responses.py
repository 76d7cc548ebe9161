"""Build the responses that are no errors. Each has the ID of its request, as those of OpenAI have."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from aws_lambda_powertools.event_handler import Response

from common.api.http import answer


def json_response(body: Mapping[str, Any], request_id: str) -> Response[str]:
    """Build a response of JSON."""
    return answer(HTTPStatus.OK, json.dumps(body), headers={"x-request-id": request_id})


def event_stream_response(events: str, request_id: str) -> Response[str]:
    """Build a response of server-sent events."""
    headers = {"x-request-id": request_id}
    return answer(HTTPStatus.OK, events, headers=headers, content_type="text/event-stream; charset=utf-8")


def see_other(location: str, request_id: str) -> Response[str]:
    """Build a redirect to a GET. A relative `location` is valid behind any stage, proxy or domain."""
    return answer(HTTPStatus.SEE_OTHER, "", headers={"x-request-id": request_id, "Location": location})
