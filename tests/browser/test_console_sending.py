"""Test the console during a send: what it keeps, and how a send ends early."""

import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Locator, Route, expect

from tests.browser.console import Console
from tests.browser.sending import Batches, Held, refuse
from tests.local.calls import accept, ended

pytestmark = pytest.mark.timeout(300)

BUDGET = "this call exceeds the daily requests budget; it resets at 00:00 UTC"
HOURS = 40_000
"""Seconds until midnight."""


@pytest.fixture
def calls(console: Console) -> Held:
    """Hold the calls that send prompts."""
    return Held(console.page, "**/tasks")


@pytest.fixture
def batches(console: Console, calls: Held) -> Batches:
    """Have what is sent accepted by nobody but the test."""
    return Batches(console.page, calls)


@pytest.fixture
def send_file(console: Console, prompt_file: Callable[[str, str], Path]) -> Callable[[], None]:
    """Send a file of 2,500 prompts, which goes in three calls."""

    def send() -> None:
        text = "\n".join(f"Story {number}" for number in range(1, 2501))
        console.page.get_by_label("Choose a file").set_input_files(prompt_file("stories.txt", text))
        console.page.get_by_role("button", name="Send 2,500 prompts").click()

    return send


def ids_of(console: Console) -> Locator:
    """Find the line that names the run."""
    return console.page.locator("#run .ids")


# ---- A run that is left ----------------------------------------------------------------------------------------------


def test_a_run_that_is_left_while_it_is_being_sent_keeps_each_of_its_batches(
    console: Console, batches: Batches, send_file: Callable[[], None]
) -> None:
    # GIVEN a file of which one call is accepted
    page = console.page
    send_file()
    first = batches.accept()
    expect(console.heading).to_have_text("1,000 tasks")
    expect(ids_of(console)).to_have_text(f"Batch {first} · sending 1,000 of 2,500")

    # WHEN its run is left, and another call is accepted, THEN the tab knows of both
    page.get_by_role("link", name="New run").click()
    second = batches.accept()
    expect(page.get_by_role("link", name="2,000 tasks")).to_be_visible()

    # AND the run is still the one that is being sent, with its prompts
    page.get_by_role("link", name="2,000 tasks").click()
    expect(console.heading).to_have_text("2,000 tasks")
    expect(ids_of(console)).to_contain_text("sending 2,000 of 2,500")
    expect(console.row(1)).to_contain_text("Story 1")
    third = batches.accept()
    expect(console.heading).to_have_text("2,500 tasks")
    expect(ids_of(console)).to_have_text(f"3 batches from {first}")
    assert console.batch_ids() == [first, second, third]

    # AND an address from before leads to all of it
    page.go_back()
    expect(page.get_by_label("Choose a file")).to_be_attached()
    expect(console.heading).to_be_hidden()
    page.go_back()
    expect(console.heading).to_have_text("2,500 tasks")
    assert console.batch_ids() == [first, second, third]


def test_another_run_that_is_shown_meanwhile_is_not_said_to_be_sent(
    console: Console, batches: Batches, send_file: Callable[[], None]
) -> None:
    # GIVEN another run, opened while a file is being sent
    page, other = console.page, "z" * 36
    send_file()
    batches.accept()
    expect(console.heading).to_have_text("1,000 tasks")
    page.get_by_role("link", name="New run").click()
    page.get_by_placeholder("batch ID").fill(other)
    page.get_by_role("button", name="Open").click()
    expect(ids_of(console)).to_have_text(f"Batch {other}")

    # WHEN the rest of the file is accepted, THEN the other run stays what it is
    batches.accept()
    batches.accept()
    expect(console.heading).to_have_text("1 task")
    expect(ids_of(console)).to_have_text(f"Batch {other}")
    assert console.batch_ids() == [other]

    # AND the whole file can be found
    page.get_by_role("link", name="New run").click()
    page.get_by_role("link", name="2,500 tasks").click()
    expect(console.heading).to_have_text("2,500 tasks")


def test_what_is_retried_joins_a_run_that_was_left_and_what_is_said_of_it_stands_there_alone(
    console: Console, api: httpx.Client
) -> None:
    # GIVEN a run of two batches whose failed tasks are being sent again
    accepted = [accept(api, {"prompts": ["Forbidden [[fault:policy]]"]}) for _ in range(2)]
    ended(api, [each["task_ids"][0] for each in accepted])
    first, second = (each["batch_id"] for each in accepted)
    page = console.page
    page.goto(f"/console#run={first},{second}")
    retries = Held(page, "**/retry")
    page.get_by_role("button", name="Retry 2 failed tasks").click()

    # WHEN another is opened, one retry is accepted, and one is refused
    retry = retries.next()
    page.evaluate("id => (location.hash = `run=${id}`)", second)
    expect(ids_of(console)).to_have_text(f"Batch {second}")
    retry.continue_()
    refused = retries.next()
    with page.expect_response("**/retry"):
        refuse(refused, 429, "budget_exhausted", BUDGET, retry_after=HOURS)

    # THEN nothing is said of that in the other
    page.get_by_label("Find a prompt or name").fill("what nothing is called")
    expect(console.rows).to_have_count(0)
    expect(page.get_by_text(BUDGET)).to_have_count(0)

    # AND it is said in the run that it was, which has the new task
    page.get_by_role("link", name="New run").click()
    page.get_by_role("link", name="3 tasks").click()
    expect(console.heading).to_have_text("3 tasks")
    expect(page.get_by_text(BUDGET)).to_be_visible()
    assert console.batch_ids()[:2] == [first, second]


def test_a_text_that_is_written_while_another_is_being_sent_stays(console: Console, calls: Held) -> None:
    # GIVEN prompts that are being sent
    prompts = console.page.get_by_label("Prompts")
    prompts.fill("A joke about plants")
    console.page.get_by_role("button", name="Send 1 prompt").click()
    held = calls.next()

    # WHEN others are written before they are accepted
    prompts.fill("A joke about dogs\nA joke about cats")
    held.continue_()
    expect(console.heading).to_have_text("1 task")

    # THEN those are there to be sent
    console.page.get_by_role("link", name="New run").click()
    expect(prompts).to_have_value("A joke about dogs\nA joke about cats")
    expect(console.page.get_by_role("button", name="Send 2 prompts")).to_be_enabled()


def test_an_input_that_is_written_while_another_is_being_started_stays(console: Console) -> None:
    starts = Held(console.page, "**/workflows/story")
    console.page.get_by_label("What to run").select_option("story")
    topic = console.page.get_by_label("Topic")
    topic.fill("trees")
    console.page.get_by_role("button", name="Start").click()
    held = starts.next()

    topic.fill("dogs")
    held.continue_()
    expect(console.heading).to_have_text("1 task")

    console.page.get_by_role("link", name="New run").click()
    expect(topic).to_have_value("dogs")
    expect(console.page.get_by_role("button", name="Start")).to_be_enabled()


# ---- Sending that ends early -----------------------------------------------------------------------------------------


def test_a_budget_that_is_used_up_is_said_and_not_waited_for(console: Console, calls: Held) -> None:
    page = console.page
    page.get_by_label("Prompts").fill("A joke about plants")
    page.get_by_role("button", name="Send 1 prompt").click()
    refuse(calls.next(), 429, "budget_exhausted", BUDGET, retry_after=HOURS)

    # THEN the form says so, keeps what was typed, and lets it be sent again
    expect(page.get_by_role("alert").filter(has_text="The request was rejected")).to_contain_text(BUDGET[1:])
    expect(page.locator("#notice")).to_be_hidden()
    expect(page.get_by_label("Prompts")).to_have_value("A joke about plants")
    page.get_by_role("button", name="Send 1 prompt").click()
    calls.next().continue_()
    expect(console.heading).to_have_text("1 task")


def test_a_budget_that_ends_in_the_middle_of_a_file_says_how_much_was_accepted(
    console: Console, batches: Batches, send_file: Callable[[], None]
) -> None:
    send_file()
    batches.accept()
    expect(console.heading).to_have_text("1,000 tasks")
    refuse(batches.calls.next(), 429, "budget_exhausted", BUDGET, retry_after=HOURS)

    said = console.page.get_by_role("alert").filter(has_text="The request was rejected")
    expect(said).to_contain_text(BUDGET[1:])
    expect(said).to_contain_text("The first 1,000 were accepted; the rest were not.")
    expect(console.page.get_by_role("link", name="1,000 tasks")).to_be_visible()


def full(route: Route) -> None:
    """Say that the queue is full."""
    refuse(route, 429, "queue_full", "the queue holds too many tasks", retry_after=HOURS)


def test_whoever_waits_to_send_can_stop_and_send_the_rest_later(
    console: Console, batches: Batches, send_file: Callable[[], None]
) -> None:
    # GIVEN a file whose second call waits, while the run is read as ever
    page = console.page
    send_file()
    first = batches.accept()
    expect(console.heading).to_have_text("1,000 tasks")
    with page.expect_response("**/batches/**"):
        full(batches.calls.next())

    # WHEN it is stopped, THEN the form says why it waited
    page.get_by_role("button", name="Stop").click()
    said = page.get_by_role("alert").filter(has_text="Stopped")
    expect(said).to_contain_text("The queue holds too many")
    expect(said).to_contain_text("The first 1,000 were accepted. To continue, send everything again")
    expect(page.locator("#notice")).to_be_hidden()

    # AND once all is sent again, what was accepted is the same as before, whatever has been sent in between
    page.get_by_role("button", name="Send 2,500 prompts").click()
    assert [batches.accept() for _ in range(3)] == console_ids(console, first)
    keys = batches.calls.keys
    assert keys[2:4] == keys[:2]


def test_a_try_that_is_under_way_is_stopped_too(
    console: Console, batches: Batches, send_file: Callable[[], None]
) -> None:
    # GIVEN a file whose second call had no connection, and is tried again
    page = console.page
    send_file()
    batches.accept()
    batches.calls.next().abort()
    batches.calls.next()

    # WHEN it is stopped before that has an answer, THEN the form says why it was tried again
    page.get_by_role("button", name="Stop").click()
    said = page.get_by_role("alert").filter(has_text="Stopped")
    expect(said).to_contain_text("No connection to the service")

    # AND what is sent again has the keys of before
    page.get_by_role("button", name="Send 2,500 prompts").click()
    for _ in range(3):
        batches.accept()
    keys = batches.calls.keys
    assert keys[:2] == [keys[0], keys[2]] == keys[3:5]


def console_ids(console: Console, first: str) -> list[str]:
    """Return the batches of the run once all three are there."""
    expect(ids_of(console)).to_have_text(f"3 batches from {first}")
    return console.batch_ids()


def test_a_notice_that_nothing_is_sent_under_has_nothing_to_stop(console: Console) -> None:
    console.page.route("**/batches/**", full)
    console.send("A joke about plants")

    expect(console.page.locator("#notice")).to_contain_text("Retrying in")
    expect(console.page.get_by_role("button", name=re.compile("^Stop"))).to_be_hidden()
