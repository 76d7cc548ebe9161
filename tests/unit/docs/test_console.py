"""Test the console's files: listed names only, no other hosts, cached until they change."""

import json
import re
from typing import Any

import pytest

from functions.docs.files import FOLDER, NAMES
from functions.docs.handler import lambda_handler


def ask(name: str | None, headers: dict[str, str] | None = None) -> dict[str, Any]:
    if name is None:
        return lambda_handler({"resource": "/console", "pathParameters": None, "headers": headers}, None)
    event = {"resource": "/console/{file}", "pathParameters": {"file": name}, "headers": headers}
    return lambda_handler(event, None)


def test_the_page_is_served_under_a_policy_that_lets_only_its_own_files_run() -> None:
    answer = ask(None)

    assert (answer["statusCode"], answer["headers"]["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert answer["body"].startswith("<!doctype html>")
    policy = answer["headers"]["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; ")
    assert "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in policy


def test_every_file_that_a_file_names_is_served_as_what_it_is() -> None:
    # GIVEN all that the page and its modules load
    named = set(re.findall(r'(?:src|href)="console/([^"]+)"', ask(None)["body"]))
    for name in NAMES:
        named |= set(re.findall(r'^(?:import|} from).*"\./([^"]+)";$', ask(name)["body"], re.MULTILINE))

    # THEN each is there, by its type, and there is nothing that nobody loads
    assert named | {"index.html"} == NAMES
    kinds = {"css": "text/css", "js": "text/javascript"}
    for name in named:
        answer = ask(name)
        assert answer["headers"]["Content-Type"] == f"{kinds[name.rpartition('.')[2]]}; charset=utf-8"
        assert answer["headers"]["X-Content-Type-Options"] == "nosniff"


def test_a_file_is_sent_again_only_once_it_has_changed() -> None:
    first = ask("app.js")

    again = ask("app.js", {"If-None-Match": first["headers"]["ETag"]})
    other = ask("app.js", {"if-none-match": '"another"'})

    assert first["headers"]["Cache-Control"] == "no-cache"
    assert (again["statusCode"], again["body"]) == (304, "")
    assert other["statusCode"] == 200


@pytest.mark.parametrize("name", ["../handler.py", "..%2Fhandler.py", "missing.js", "", "INDEX.HTML"])
def test_no_other_name_leads_anywhere(name: str) -> None:
    answer = ask(name)

    assert answer["statusCode"] == 404
    assert json.loads(answer["body"])["code"] == "not_found"
    assert answer["headers"]["Content-Type"] == "application/problem+json"


def test_nothing_is_loaded_from_elsewhere_nor_read_as_markup() -> None:
    for path in FOLDER.iterdir():
        text = path.read_text(encoding="utf-8")
        assert set(re.findall(r"https?://[^\s\"'`]+", text)) <= {"http://www.w3.org/2000/svg"}, path
        assert (
            re.findall(r"@import|url\(|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text) == []
        ), path
        assert re.findall(r'<[^>]+ (?:on\w+|style)="', text) == [], path
        assert len(text.splitlines()) < 250, path
