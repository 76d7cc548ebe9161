"""Test the page at /docs in a browser that can reach only the stack."""

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from local.aws import API_KEY
from tests.browser.contrast import low_contrasts

pytestmark = pytest.mark.timeout(300)


def test_a_call_is_sent_from_the_page_and_its_answer_is_shown(window: Callable[..., Page]) -> None:
    # GIVEN the page, whose window fails the test for any request to another origin
    page = window()
    page.goto("/docs")
    page.get_by_label("API key").fill(API_KEY)

    # WHEN prompts are sent from it
    post = page.locator("details").filter(has=page.get_by_text("POST", exact=True)).filter(has_text="/tasks").first
    post.evaluate("each => each.open = true")
    post.get_by_label("Body").fill('{"prompts": ["A joke about plants"]}')
    post.get_by_role("button", name="Send").click()

    # THEN the answer is there
    expect(post.get_by_role("heading", name="202")).to_be_visible()
    accepted = json.loads(post.locator("output pre").last.inner_text())

    # AND so is the task, by another call
    get = page.locator("details").filter(has=page.get_by_text("/tasks/{task_id}", exact=True)).first
    get.evaluate("each => each.open = true")
    get.get_by_role("textbox", name="task_id required").fill(accepted["task_ids"][0])
    get.get_by_role("button", name="Send").click()
    expect(get.get_by_role("heading", name="200")).to_be_visible()
    assert json.loads(get.locator("output pre").last.inner_text())["task_id"] == accepted["task_ids"][0]


def test_without_a_key_the_refusal_is_shown(window: Callable[..., Page]) -> None:
    page = window()
    page.goto("/docs")

    first = page.locator("details[open]")
    first.get_by_role("button", name="Send").click()

    expect(first.get_by_role("heading", name="401")).to_be_visible()
    expect(first.locator("output")).to_contain_text("unauthorized")


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_the_page_can_be_read_on_a_phone_in_light_and_dark(window: Callable[..., Page], colours: str) -> None:
    page = window(color_scheme=colours, viewport={"width": 390, "height": 844})
    page.goto("/docs")
    expect(page.locator("details[open]")).to_be_visible()

    assert low_contrasts(page) == []
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
