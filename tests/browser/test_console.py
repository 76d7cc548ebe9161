"""Test the console in a browser on the whole stack: send, watch, cancel, retry and search prompts."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from local.answers import prompt_digest
from local.aws import API_KEY
from tests.browser.console import Console
from tests.local_stack import Up

pytestmark = pytest.mark.timeout(300)

SLOW = "[[tokens:400]] [[delay:0.1]]"
"""Makes an answer that takes as long as a test needs it to."""


def test_a_prompt_becomes_an_answer_that_can_be_read(console: Console, api: httpx.Client) -> None:
    # WHEN two prompts are sent
    console.send("A joke about the economy", "A joke about plants")

    # THEN both are answered, in their order
    expect(console.number("ended")).to_have_text("2 / 2")
    [batch_id] = console.batch_ids()
    told = api.get(f"/tasks/{batch_id}-1").json()
    expect(console.row(2)).to_contain_text("A joke about plants")
    expect(console.row(2)).to_contain_text(told["result"][:80])

    # AND a task shows its whole answer, its attempt and its cost
    console.row(2).click()
    expect(console.page.locator("#answer")).to_have_text(told["result"])
    expect(console.panel.locator("tbody tr")).to_have_count(1)
    expect(console.panel.locator("tbody")).to_contain_text("completed")
    expect(console.panel).to_contain_text(f"{told['usage']['completion_tokens']} out")

    # AND the charts tell of both
    expect(console.page.locator("#chart-outcomes")).to_contain_text("100 %")
    for name in ("throughput", "latency", "tokens"):
        drawing = console.page.locator(f"#chart-{name} svg")
        expect(drawing).not_to_have_attribute("aria-label", "No data yet.")
        assert drawing.locator("rect, path.line").count() > 0


def test_nothing_is_kept_but_the_key_and_the_ids_and_those_in_the_tab(console: Console) -> None:
    console.send("A joke about secret plants")
    expect(console.number("ended")).to_have_text("1 / 1")
    console.row(1).click()
    expect(console.page.locator("#answer")).not_to_be_empty()

    kept = json.loads(console.page.evaluate("JSON.stringify([sessionStorage, localStorage])"))

    assert kept[0].pop("sluice.key") == API_KEY
    assert API_KEY not in console.page.url.partition("#")[2]
    [run] = json.loads(kept[0].pop("sluice.recent"))
    assert set(run) == {"ids", "size", "at"}
    assert kept == [{}, {}]


def test_a_bar_and_a_text_grow_until_the_task_is_cancelled(console: Console, api: httpx.Client, stack: Up) -> None:
    # GIVEN a task that takes long, opened
    prompt = f"Tell me about rivers {SLOW}"
    console.send(prompt)
    console.row(1).click()
    answer = console.page.locator("#answer")
    expect(answer).not_to_be_empty()

    # THEN its text and its bar grow, here and in the list
    before = answer.inner_text()
    expect(answer).not_to_have_text(before)
    assert answer.inner_text().startswith(before)
    expect(console.row(1)).to_have_attribute("aria-label", re.compile(r"processing, [1-9]\d* percent"))
    expect(console.row(1).locator(".text")).not_to_be_empty()

    # WHEN it is cancelled, THEN it has ended, here and there, and was asked once
    console.panel.get_by_role("button", name="Cancel").click()
    expect(console.panel).to_have_attribute("data-status", "cancelled")
    expect(console.row(1)).to_have_attribute("data-status", "cancelled")
    [batch_id] = console.batch_ids()
    assert api.get(f"/tasks/{batch_id}-0").json()["status"] == "cancelled"
    by_prompt = stack.calls()["by_prompt"]
    assert isinstance(by_prompt, dict)
    assert by_prompt[prompt_digest(prompt)] == 1


def test_a_failure_says_why(console: Console) -> None:
    console.send("A joke about plants", "Forbidden [[fault:policy]]")

    expect(console.row(2)).to_contain_text("content_policy")
    expect(console.number("failed")).to_have_text("1")
    expect(console.page.locator("#chart-outcomes")).to_contain_text("content_policy")

    console.page.get_by_role("button", name=re.compile("^failed")).click()
    expect(console.rows).to_have_count(1)
    console.rows.first.click()
    expect(console.panel).to_contain_text("The provider's content filter refused")
    expect(console.panel.locator("tbody")).to_contain_text("content_policy")


def test_the_failed_ones_are_sent_again_and_join_the_run(console: Console) -> None:
    # GIVEN a prompt that fails once
    console.send("A joke about plants", "A joke about a dog [[fault:policyx1]]")
    expect(console.number("failed")).to_have_text("1")

    # WHEN the failed ones are sent again
    console.page.get_by_role("button", name="Retry 1 failed task").click()

    # THEN there is a third task, which is answered, and nothing is left to send again
    expect(console.heading).to_have_text("3 tasks")
    expect(console.row(3)).to_have_attribute("data-status", "completed")
    expect(console.row(3)).to_contain_text("A joke about a dog")
    expect(console.page.get_by_role("button", name=re.compile("^Retry"))).to_be_hidden()
    assert len(console.batch_ids()) == 2


def test_a_run_is_cancelled_once_that_is_confirmed(console: Console) -> None:
    console.send(*(f"Story {number} {SLOW}" for number in range(30)))

    console.page.get_by_role("button", name="Cancel the rest").click()
    console.page.get_by_role("button", name="Keep them").click()
    expect(console.page.get_by_role("button", name="Cancel the rest")).to_be_enabled()
    console.page.get_by_role("button", name="Cancel the rest").click()
    console.page.get_by_role("button", name="Cancel them").click()

    expect(console.number("ended")).to_have_text("30 / 30")
    expect(console.page.locator("#chart-outcomes")).to_contain_text("cancelled")
    expect(console.page.get_by_role("button", name="Cancel the rest")).to_be_hidden()


def test_a_reload_in_the_middle_comes_back_to_where_it_was(console: Console) -> None:
    # GIVEN an open task that is being answered
    console.send("A joke about plants", "Tell me about rivers [[tokens:120]] [[delay:0.1]]")
    console.row(2).click()
    answer = console.page.locator("#answer")
    expect(answer).not_to_be_empty()
    before = answer.inner_text()

    # WHEN the page is loaded anew
    console.page.reload()

    # THEN it shows the same run, the same task and more of its text, to the end
    expect(console.heading).to_have_text("2 tasks")
    expect(answer).to_contain_text(before)
    expect(console.panel).to_have_attribute("data-status", "completed")
    expect(console.number("ended")).to_have_text("2 / 2")
    expect(console.panel).to_contain_text("prompts are kept only in the memory of the page that sent them")

    # AND a run can be found again in its tab
    console.page.get_by_role("link", name="New run").click()
    console.page.get_by_role("link", name="2 tasks").click()
    expect(console.number("ended")).to_have_text("2 / 2")


def test_a_run_that_was_sent_elsewhere_can_be_watched(console: Console, api: httpx.Client) -> None:
    prompts = [{"prompt": "A joke about plants", "custom_id": "greens"}, "A joke about animals"]
    batch_id = api.post("/tasks", json={"prompts": prompts}).json()["batch_id"]

    console.page.get_by_placeholder("batch ID").fill(batch_id)
    console.page.get_by_role("button", name="Open").click()

    expect(console.number("ended")).to_have_text("2 / 2")
    expect(console.row(1)).to_contain_text("greens")


def test_a_large_file_goes_in_calls_of_a_thousand_and_only_rows_on_the_screen_exist(
    console: Console, prompt_file: Callable[[str, str], Path]
) -> None:
    # GIVEN a file of 1,201 lines, one of which is none
    pace = "[[tokens:20]] [[delay:0.05]]"
    lines = [json.dumps({"prompt": f"Story {number} {pace}", "custom_id": f"row-{number}"}) for number in range(1200)]
    lines.insert(6, '{"prompt": ')
    page = console.page

    # WHEN it is chosen, THEN the bad line is named
    page.get_by_label("Choose a file").set_input_files(prompt_file("stories.jsonl", "\n".join(lines)))
    expect(page.get_by_text("Line 7:")).to_be_visible()
    expect(page.locator("#found")).to_contain_text("1,200 prompts · 2 requests")

    # AND the others can be sent
    page.get_by_role("button", name="Send the other 1,200").click()
    expect(console.heading).to_have_text("1,200 tasks")
    assert len(console.batch_ids()) == 2

    # AND the last is there at the end of a list that never is in the page as a whole
    page.get_by_role("listbox", name="Tasks").focus()
    page.keyboard.press("End")
    expect(console.row(1200)).to_be_in_viewport()
    expect(console.row(1200)).to_have_attribute("aria-setsize", "1200")
    assert console.rows.count() < 60

    # AND one can be found
    page.get_by_label("Find a prompt or name").fill("Story 1137 ")
    expect(console.rows).to_have_count(1)
    expect(console.row(1138)).to_be_visible()

    page.get_by_role("button", name="Cancel the rest").click()
    page.get_by_role("button", name="Cancel them").click()
    expect(console.number("ended")).to_have_text("1,200 / 1,200")


def test_a_table_fills_in_a_template(console: Console, prompt_file: Callable[[str, str], Path]) -> None:
    page: Page = console.page
    table = 'topic,custom_id,price\nplants,p1,3\n"dogs, and cats",p2,4\n'
    page.get_by_label("Choose a file").set_input_files(prompt_file("topics.csv", table))
    expect(page.get_by_text("there is no column 'prompt'")).to_be_visible()

    page.get_by_label("Template, for CSV").fill("A joke about {topic}")
    page.get_by_role("button", name="Send 2 prompts").click()

    expect(console.number("ended")).to_have_text("2 / 2")
    expect(console.row(2)).to_contain_text("A joke about dogs, and cats")


def test_a_template_that_names_no_column_is_said_to_be_none_while_it_is_typed(console: Console) -> None:
    page = console.page
    page.get_by_text("Options").click()
    page.get_by_label("Format").select_option("csv")
    page.get_by_label("Prompts").fill("topic,price\nplants,3\ndogs,4\n")
    template = page.get_by_label("Template, for CSV")
    send = page.get_by_role("button", name=re.compile("^Send"))

    template.press_sequentially("A joke about {topic")
    expect(page.get_by_text("Line 1: the template contains no {column}")).to_be_visible()
    expect(send).to_be_disabled()
    template.press_sequentially("}")
    expect(send).to_have_text("Send 2 prompts")
    template.fill("A joke")
    expect(page.get_by_text("Line 1: the template contains no {column}")).to_be_visible()
    expect(send).to_be_disabled()


@pytest.mark.parametrize("way", ["find", "resize"])
def test_what_comes_onto_the_screen_after_the_end_has_its_answer(window: Callable[..., Page], way: str) -> None:
    # GIVEN a run that has ended, whose last rows have not been on the screen, in a page that asks for nothing any more
    console = Console(window())
    page = console.page
    page.clock.install()
    console.open()
    console.use_key(API_KEY)
    console.send(*(f"Story {number}" for number in range(1, 31)))
    expect(page.get_by_role("button", name="Cancel the rest")).to_be_hidden()
    for number in range(1, 6):
        expect(console.row(number).locator(".text")).not_to_be_empty()
    page.clock.run_for(5000)

    # WHEN one is looked for, or the window grows
    if way == "find":
        page.get_by_label("Find a prompt or name").press_sequentially("Story 30")
        expect(console.rows).to_have_count(1)
    else:
        page.set_viewport_size({"width": 1280, "height": 2400})

    # THEN it is shown with its answer
    expect(console.row(30)).to_be_in_viewport()
    expect(console.row(30).locator(".text")).not_to_be_empty()


def test_the_answers_can_be_saved(console: Console) -> None:
    console.send("A joke about the economy", "A joke about plants")
    expect(console.number("ended")).to_have_text("2 / 2")

    with console.page.expect_download() as waiting:
        console.page.get_by_role("button", name="Download").click()

    lines = Path(waiting.value.path()).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["status"] for line in lines] == ["completed"] * 2
