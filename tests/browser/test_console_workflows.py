"""Test workflows in the console: choose, fill in, start with one input or a file, and read the results."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from local.aws import API_KEY, API_KEYS_SECRET
from tests.browser.console import Console
from tests.browser.contrast import low_contrasts
from tests.local_stack import Up, usable
from tools.keys import KeyStore

pytestmark = pytest.mark.timeout(300)

PHONE = {"width": 390, "height": 844}
PROBLEM = {"Content-Type": "application/problem+json"}
TO_ORDER: dict[str, Any] = {
    "name": "to_order",
    "description": "Write to order.",
    "input_schema": {
        "$defs": {
            "Tone": {"enum": ["formal", "casual"], "title": "Tone", "type": "string"},
            "Address": {"properties": {"street": {"type": "string"}}, "required": ["street"], "type": "object"},
        },
        "additionalProperties": False,
        "properties": {
            "title": {"maxLength": 200, "title": "Title", "type": "string"},
            "tone": {"$ref": "#/$defs/Tone", "description": "How it sounds."},
            "length": {"default": 300, "maximum": 2000, "minimum": 10, "title": "Length", "type": "integer"},
            "rhymes": {"default": False, "title": "Rhymes", "type": "boolean"},
            "keywords": {"items": {"type": "string"}, "maxItems": 5, "title": "Keywords", "type": "array"},
            "notes": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None, "title": "Notes"},
            "address": {"$ref": "#/$defs/Address"},
        },
        "required": ["title", "tone", "keywords", "address"],
        "type": "object",
    },
}
"""A schema as pydantic writes it, with a field of each kind."""


def fulfil(route: Route, status: int, body: object) -> None:
    route.fulfill(status=status, headers=PROBLEM if status >= 400 else {}, body=json.dumps(body))


def problem_of(page: Page, label: str) -> Locator:
    """Find what is said of a field that is wrong, by the ids that name it to a screen reader."""
    field = page.get_by_label(label)
    expect(field).to_have_attribute("aria-invalid", "true")
    said = (field.get_attribute("aria-describedby") or "").split()[-1]
    return page.locator(f"#{said}")


@pytest.fixture
def start(console: Console) -> Locator:
    """Find the button that starts a workflow."""
    return console.page.get_by_role("button", name=re.compile("^Start"))


@pytest.fixture
def choose(console: Console) -> Callable[[str], Page]:
    """Choose a workflow."""

    def chosen(name: str) -> Page:
        console.page.get_by_label("What to run").select_option(name)
        return console.page

    return chosen


@pytest.fixture(scope="module")
def keys(browser: Browser, stack: Up) -> dict[str, str]:
    """Issue a key that may start no workflow and one that may start a single one."""
    assert browser.is_connected()
    store = KeyStore(stack.aws("secretsmanager"), API_KEYS_SECRET, now=lambda: datetime(2026, 1, 1, tzinfo=UTC))
    allowed = {"none": ["gpt-5-mini"], "story": ["gpt-5-mini", "workflow/story"]}
    issued = {name: store.issue(name, models) for name, models in allowed.items()}
    return {name: usable(stack, key) for name, key in issued.items()}


# ---- One input -------------------------------------------------------------------------------------------------------


def test_a_workflow_is_chosen_filled_in_started_and_answered(
    console: Console, api: httpx.Client, choose: Callable[[str], Page], start: Locator
) -> None:
    # GIVEN the form of a workflow, which says what it is for and what its fields are
    page = choose("translate_and_review")
    expect(page.get_by_text("Translate a text, and have the translation reviewed")).to_be_visible()
    expect(page.get_by_text("The language to translate into, as in German")).to_be_visible()
    expect(page.get_by_label("Prompts")).to_have_count(0)

    # WHEN it is filled in and started
    page.get_by_label("Text").fill("Good morning,\neverybody.")
    page.get_by_label("Language").fill("German")
    page.get_by_text("Options").click()
    page.get_by_label("Name of the task").fill("greeting")
    start.click()

    # THEN there is a task, with its name and its input, and its answer
    expect(console.heading).to_have_text("1 task")
    expect(console.number("ended")).to_have_text("1 / 1")
    [batch_id] = console.batch_ids()
    told = api.get(f"/tasks/{batch_id}-0").json()
    assert (told["model"], told["custom_id"]) == ("workflow/translate_and_review", "greeting")
    console.row(1).click()
    expect(console.page.locator("#answer")).to_have_text(told["result"])
    expect(console.panel.get_by_role("heading", name="Input")).to_be_visible()
    expect(console.panel).to_contain_text("text: Good morning,")
    expect(console.panel).to_contain_text("language: German")

    # AND the form is as it was, for another one
    page.get_by_role("link", name="New run").click()
    expect(page.get_by_label("What to run")).to_have_value("translate_and_review")
    text = page.get_by_role("textbox", name="Text", exact=True)
    expect(text).to_have_value("")
    expect(text).to_be_focused()


def test_what_is_missing_or_refused_is_said_at_its_field(
    console: Console, choose: Callable[[str], Page], start: Locator
) -> None:
    # WHEN nothing is filled in, THEN each field says so, and the first has the cursor
    page = choose("translate_and_review")
    start.click()
    expect(problem_of(page, "Text")).to_have_text("Is missing")
    expect(problem_of(page, "Language")).to_have_text("Is missing")
    expect(page.get_by_label("Text")).to_be_focused()

    # AND WHEN the service refuses one, THEN that one says why, and keeps what was typed
    page.get_by_label("Text").fill("Good morning")
    expect(page.get_by_label("Text")).not_to_have_attribute("aria-invalid", "true")
    page.get_by_label("Language").fill("n" * 300)
    start.click()
    expect(problem_of(page, "Language")).to_contain_text("200 characters")
    expect(page.get_by_label("Language")).to_be_focused()
    expect(page.get_by_label("Text")).to_have_value("Good morning")

    # AND once it is mended it is accepted
    page.get_by_label("Language").fill("Norwegian")
    start.click()
    expect(console.heading).to_have_text("1 task")


def test_a_list_of_long_texts_has_a_box_for_each(
    console: Console, choose: Callable[[str], Page], start: Locator
) -> None:
    page = choose("summarize_articles")
    page.get_by_label("Articles 1", exact=True).fill("About trees.\n\nThey are tall.")
    page.get_by_role("button", name="Add another").click()
    expect(page.get_by_label("Articles 2", exact=True)).to_be_focused()
    page.keyboard.type("About the sea.")
    page.get_by_role("button", name="Add another").click()
    page.keyboard.type("About nothing.")
    page.get_by_role("button", name="Remove Articles 3").click()
    expect(page.get_by_label("Articles 2", exact=True)).to_be_focused()

    with page.expect_request("**/workflows/summarize_articles") as sent:
        start.click()

    expect(console.number("ended")).to_have_text("1 / 1")
    articles = ["About trees.\n\nThey are tall.", "About the sea."]
    assert sent.value.post_data_json == {"inputs": [{"articles": articles}]}


def test_each_field_is_made_for_what_the_schema_takes(window: Callable[..., Page]) -> None:
    # GIVEN a workflow with a field of each kind
    console, sent = Console(window()), []
    refused = [
        {"pointer": "/inputs/0/keywords/1", "detail": "must be short"},
        {"pointer": "/inputs/0/address/street", "detail": "is missing"},
    ]

    def answer(route: Route) -> None:
        sent.append(route.request.post_data_json)
        fulfil(route, 400, {"status": 400, "code": "invalid_value", "detail": "2 items", "errors": refused})

    console.page.route("**/workflows", lambda route: fulfil(route, 200, {"workflows": [TO_ORDER]}))
    console.page.route("**/workflows/to_order", answer)
    console.open()
    console.use_key(API_KEY)
    page = console.page
    page.get_by_label("What to run").select_option("to_order")
    expect(page.get_by_label("Rhymes")).to_have_value("1")
    expect(page.get_by_text("At least 10, at most 2000, default: 300")).to_be_visible()

    # WHEN they are filled in, some of them wrongly, THEN those say so
    page.get_by_label("Title").fill("Ode")
    page.get_by_label("Tone").select_option("casual")
    page.get_by_label("Length").fill("5")
    page.get_by_label("Keywords").fill("sea\n\n[draft] sky\n")
    page.get_by_label("Address").fill("{")
    page.get_by_role("button", name="Start").click()
    expect(problem_of(page, "Length")).to_have_text("Must be at least 10")
    expect(problem_of(page, "Address")).to_contain_text("Must be JSON")
    assert sent == []

    # AND once they are right, values of the schema's types are sent, and what was left empty is not
    page.get_by_label("Length").fill("50")
    page.get_by_label("Address").fill('{"street": "Quay"}')
    page.get_by_role("button", name="Start").click()
    expect(problem_of(page, "Keywords")).to_have_text("Item 2: must be short")
    expect(problem_of(page, "Address")).to_have_text("Street: is missing")
    given = {"title": "Ode", "tone": "casual", "length": 50, "rhymes": False, "keywords": ["sea", "[draft] sky"]}
    assert sent == [{"inputs": [{**given, "address": {"street": "Quay"}}]}]

    # AND so are the cells of a table
    page.get_by_label("Many inputs").check()
    rows = [
        "title,tone,length,rhymes,keywords,address",
        'Ode,formal,60,yes,"a\nb","{""street"":""Quay""}"',
        "Ode,odd,,,a,1",
    ]
    page.get_by_label("Inputs", exact=True).fill("\n".join(rows))
    expect(page.get_by_text("Line 4: tone must be one of formal, casual")).to_be_visible()
    page.get_by_role("button", name="Start the other 1").click()
    expect(page.get_by_text("Line 2, address, street: is missing")).to_be_visible()
    row = {"title": "Ode", "tone": "formal", "length": 60, "rhymes": True, "keywords": ["a", "b"]}
    assert sent[1:] == [{"inputs": [{**row, "address": {"street": "Quay"}}]}]


# ---- Many inputs -----------------------------------------------------------------------------------------------------


def test_a_file_of_inputs_is_started_and_what_is_wrong_in_it_is_named_by_its_line(
    console: Console,
    choose: Callable[[str], Page],
    start: Locator,
    prompt_file: Callable[[str, str], Path],
) -> None:
    # GIVEN a file with a line that has no topic, one that is no JSON, and one that the service refuses
    page = choose("story")
    lines = [{"topic": "trees", "custom_id": "one"}, {"topik": "dogs"}, {"topic": "the sea"}, {"topic": 7}]
    text = "\n".join(map(json.dumps, lines)) + '\n{"topic":'
    page.get_by_label("Choose a file").set_input_files(prompt_file("topics.jsonl", text))
    expect(page.get_by_text("2 invalid lines")).to_be_visible()
    expect(page.get_by_text("Line 2: lacks topic")).to_be_visible()
    expect(page.get_by_text("Line 5:")).to_be_visible()

    # WHEN the others are started, THEN nothing is accepted, and the line and its field are named
    page.get_by_role("button", name="Start the other 3").click()
    expect(page.get_by_text("Line 4, topic: must be string")).to_be_visible()

    # AND a file without it is
    page.get_by_role("button", name="Remove topics.jsonl").click()
    page.get_by_label("Choose a file").set_input_files(
        prompt_file("topics.csv", 'custom_id,topic\none,trees\ntwo,"dogs, and cats"\n')
    )
    expect(start).to_have_text("Start 2 inputs")
    start.click()
    expect(console.heading).to_have_text("2 tasks")
    expect(console.number("ended")).to_have_text("2 / 2")
    expect(console.row(2)).to_contain_text("dogs, and cats")


def test_where_one_text_is_all_it_takes_a_line_is_an_input(
    console: Console, choose: Callable[[str], Page], start: Locator
) -> None:
    page = choose("story")
    page.get_by_label("Many inputs").check()
    expect(start).to_be_disabled()
    page.get_by_label("Inputs", exact=True).fill("trees\n\nthe sea, at night\n")
    start.click()

    expect(console.heading).to_have_text("2 tasks")
    expect(console.row(2)).to_contain_text("the sea, at night")


# ---- Nothing twice ---------------------------------------------------------------------------------------------------


def test_a_double_click_and_a_lost_answer_start_nothing_twice(
    console: Console, choose: Callable[[str], Page], start: Locator
) -> None:
    # GIVEN a connection that breaks when the call has been accepted
    accepted: list[dict[str, Any]] = []
    keys: list[str | None] = []

    def lose_the_first(route: Route) -> None:
        keys.append(route.request.header_value("idempotency-key"))
        answer = route.fetch()
        accepted.append(answer.json())
        if len(keys) == 1:
            route.abort()
        else:
            route.fulfill(response=answer)

    page = choose("story")
    page.route("**/workflows/story", lose_the_first)
    page.get_by_label("Topic").fill("trees")

    # WHEN it is started by two clicks
    start.dblclick()

    # THEN there were two calls, which are one
    expect(console.number("ended")).to_have_text("1 / 1")
    assert len(set(keys)) == 1
    assert len(keys) == 2
    assert {told["batch_id"] for told in accepted} == set(console.batch_ids())


def test_what_was_accepted_before_a_refusal_is_not_started_again(
    console: Console,
    choose: Callable[[str], Page],
    start: Locator,
    prompt_file: Callable[[str, str], Path],
) -> None:
    # GIVEN more inputs than a call takes, all alike, and a service that refuses the second call once
    calls: list[tuple[str | None, int]] = []

    def refuse_the_second(route: Route) -> None:
        count = len(json.loads(route.request.post_data or "")["inputs"])
        calls.append((route.request.header_value("idempotency-key"), count))
        if len(calls) == 2:
            errors = [{"pointer": "/inputs/0/topic", "detail": "must be kind"}]
            return fulfil(route, 400, {"status": 400, "code": "x", "detail": "no", "errors": errors})
        batch_id = ("a" if count == 1000 else "b") * 36
        tasks = [{"task_id": f"{batch_id}-{number}", "status": "queued"} for number in range(count)]
        ids = [task["task_id"] for task in tasks]
        return fulfil(route, 202, {"batch_id": batch_id, "task_ids": ids, "tasks": tasks})

    page = choose("story")
    page.route("**/workflows/story", refuse_the_second)
    page.get_by_label("Choose a file").set_input_files(prompt_file("topics.txt", "trees\n" * 2000))
    start.click()

    # THEN the form says what was refused, and that the rest was accepted
    expect(page.get_by_text("Line 1,001, topic: must be kind")).to_be_visible()
    expect(page.get_by_text("The first 1,000 were accepted")).to_be_visible()

    # AND WHEN all is started again, THEN both calls are the same as before
    start.click()
    expect(console.heading).to_be_visible()
    expect(page.get_by_text("Batch aaaa")).to_have_count(0)
    keys = [key for key, _ in calls]
    assert [count for _, count in calls] == [1000] * 4
    assert keys[:2] == keys[2:]
    assert keys[0] != keys[1]


# ---- Who may choose --------------------------------------------------------------------------------------------------


def test_a_key_is_offered_what_it_may_start(window: Callable[..., Page], keys: dict[str, str]) -> None:
    # GIVEN no key, THEN there is no choice
    console = Console(window())
    console.open()
    what = console.page.get_by_label("What to run")
    expect(what).to_be_hidden()

    # WHEN a key may start some, THEN those are offered
    with console.page.expect_response("**/workflows"):
        console.use_key(keys["story"])
    expect(what).to_be_visible()
    assert what.locator("option").all_inner_texts() == ["Prompts", "story"]
    what.select_option("story")
    expect(console.page.get_by_label("Topic")).to_be_visible()

    # AND WHEN another may start none, THEN there are prompts alone
    console.page.get_by_role("button", name="Key set").click()
    console.page.get_by_label("Key", exact=True).fill(keys["none"])
    with console.page.expect_response("**/workflows") as answer:
        console.page.get_by_role("button", name="Use this key").click()
    assert answer.value.json() == {"workflows": []}
    expect(console.page.get_by_label("Prompts")).to_be_visible()
    expect(what).to_be_hidden()


@pytest.mark.parametrize("status", [403, 404])
def test_a_service_that_knows_no_workflows_is_used_for_prompts(window: Callable[..., Page], status: int) -> None:
    console = Console(window())
    console.page.route("**/workflows", lambda route: fulfil(route, status, {"status": status, "title": "None"}))
    console.open()
    with console.page.expect_response("**/workflows"):
        console.use_key(API_KEY)

    expect(console.page.get_by_label("What to run")).to_be_hidden()
    expect(console.page.locator("#notice")).to_be_hidden()
    console.send("A joke about plants")


# ---- How it looks, and the keyboard ----------------------------------------------------------------------------------


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_the_form_can_be_read_on_a_phone_too(window: Callable[..., Page], colours: str) -> None:
    console = Console(window(color_scheme=colours, viewport=PHONE, reduced_motion="reduce"))
    console.open()
    console.use_key(API_KEY)
    page = console.page
    for workflow in ("summarize_articles", "translate_and_review"):
        page.get_by_label("What to run").select_option(workflow)
        page.get_by_role("button", name="Start").click()
        expect(page.locator("[aria-invalid]").first).to_be_visible()
        assert low_contrasts(page) == []
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0
    page.get_by_label("Many inputs").check()
    page.get_by_label("Inputs", exact=True).fill('{"text": "Good morning"}')
    expect(page.get_by_text("1 invalid line")).to_be_visible()
    assert low_contrasts(page) == []
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0


def test_the_keyboard_alone_chooses_fills_in_and_starts(console: Console) -> None:
    page = console.page
    what = page.get_by_label("What to run")
    expect(what).to_be_visible()
    what.focus()
    page.keyboard.type("story")
    expect(what).to_have_value("story")
    page.keyboard.press("Tab")
    expect(page.get_by_label("One input")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.type("trees")
    page.keyboard.press("Control+Enter")

    expect(console.heading).to_have_text("1 task")
    expect(console.heading).to_be_focused()
