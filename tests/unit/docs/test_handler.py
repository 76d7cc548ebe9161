"""Test that the description and its page are served unchanged, and that the page loads nothing from other hosts."""

import json
import re

import pytest

from functions.docs.handler import PAGE, lambda_handler


@pytest.mark.parametrize(
    ("resource", "content_type"),
    [("/openapi.json", "application/json"), ("/docs", "text/html; charset=utf-8")],
)
def test_each_is_served_by_its_route(resource: str, content_type: str) -> None:
    answer = lambda_handler({"resource": resource}, None)

    assert (answer["statusCode"], answer["headers"]["Content-Type"]) == (200, content_type)
    assert answer["body"]


def test_the_description_is_json_and_fits_the_page() -> None:
    description = json.loads(lambda_handler({"resource": "/openapi.json"}, None)["body"])

    for methods in description["paths"].values():
        for operation in methods.values():
            assert operation["operationId"]
            assert operation["summary"]
            assert isinstance(operation["parameters"], list)


def test_the_page_loads_nothing_but_the_description() -> None:
    assert re.findall(r"https?://", PAGE) == []
    assert re.findall(r'\bsrc=|<link rel="stylesheet"|@import|url\(', PAGE) == []
    assert re.findall(r"fetch\((\S+?)[),]", PAGE) == ["url", '"openapi.json"']
    assert "innerHTML" not in PAGE


def test_only_the_pages_own_script_may_run() -> None:
    policy = lambda_handler({"resource": "/docs"}, None)["headers"]["Content-Security-Policy"]

    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "connect-src 'self'" in policy
    assert "unsafe" not in policy
    assert re.findall(r' (?:on\w+|style)="', PAGE) == []
