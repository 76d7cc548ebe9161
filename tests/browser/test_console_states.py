"""Test the console's errors, security rules, appearance and keyboard shortcuts."""

import re
from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import Download, Page, Route, expect

from local.aws import API_KEY
from tests.browser.console import Console
from tests.browser.contrast import low_contrasts
from tests.browser.sending import Held
from tests.local.calls import accept, ended

pytestmark = pytest.mark.timeout(300)

ATTACK = "<img src=x onerror=\"document.body.dataset.hit='yes'\"><script>document.body.dataset.hit='yes'</script>"
SLOW = "[[tokens:400]] [[delay:0.1]]"
PHONE = {"width": 390, "height": 844}


# ---- What is kept out ------------------------------------------------------------------------------------------------


def test_no_prompt_answer_or_name_is_read_as_markup(console: Console, api: httpx.Client) -> None:
    # GIVEN an answer that is all markup, to a prompt that is, under a name that is
    schema = {"name": "attack", "schema": {"const": ATTACK}}
    params = {"response_format": {"type": "json_schema", "json_schema": schema}}
    prompts = [{"prompt": ATTACK, "custom_id": ATTACK, "params": params}]
    accepted = accept(api, {"prompts": prompts})
    [task] = ended(api, accepted["task_ids"])
    assert "onerror" in task["result"]

    # WHEN it is shown in the list and in full
    console.page.goto(f"/console#run={accepted['batch_id']}&task={task['task_id']}")
    expect(console.page.locator("#answer")).to_have_text(task["result"])
    expect(console.row(1)).to_contain_text("<img src=x")

    # THEN it is text
    assert console.page.locator("main img, main script, #panel img, #panel script").count() == 0
    assert console.page.evaluate("document.body.dataset.hit") is None


def test_the_browser_itself_lets_nothing_else_run_or_load(console: Console) -> None:
    answer = console.page.request.get("/console")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'")
    assert "unsafe" not in policy

    assert (
        console.page.evaluate("(() => { try { document.body.innerHTML = 'x' } catch { return 'refused' } })()")
        == "refused"
    )
    assert console.page.locator("[style*=':'][onclick], [onload], [onerror]").count() == 0


# ---- What goes wrong -------------------------------------------------------------------------------------------------


def test_a_wrong_key_is_refused_before_it_is_kept(window: Callable[..., Page]) -> None:
    console = Console(window())
    console.open()

    console.page.get_by_role("button", name="Set the key").click()
    console.page.get_by_label("Key", exact=True).fill("wrong")
    console.page.get_by_role("button", name="Use this key").click()

    expect(console.page.get_by_text("The service does not accept this key.")).to_be_visible()
    assert console.page.evaluate("sessionStorage.length") == 0


def test_whoever_sends_without_a_key_is_asked_for_it_and_goes_on(window: Callable[..., Page]) -> None:
    console = Console(window())
    console.open()
    console.page.get_by_role("button", name="Fill in an example").click()
    console.page.get_by_role("button", name="Send 4 prompts").click()

    console.page.get_by_label("Key", exact=True).fill(API_KEY)
    console.page.get_by_role("button", name="Use this key").click()

    expect(console.heading).to_have_text("4 tasks")
    expect(console.number("ended")).to_have_text("4 / 4")


def test_a_key_that_was_taken_back_is_said_and_a_new_one_goes_on(console: Console) -> None:
    console.send(f"Tell me about rivers {SLOW}")
    refuse = {"status": 401, "body": '{"code": "unauthorized", "status": 401, "title": "Unauthorized"}'}
    console.page.route("**/batches/**", lambda route: route.fulfill(**refuse), times=1)

    console.page.get_by_role("button", name="Change the key").click()
    console.page.get_by_label("Key", exact=True).fill(API_KEY)
    console.page.get_by_role("button", name="Use this key").click()

    expect(console.page.locator("#notice")).to_be_hidden()
    expect(console.row(1)).to_have_attribute("data-status", "processing")
    console.page.get_by_role("button", name="Cancel the rest").click()
    console.page.get_by_role("button", name="Cancel them").click()
    expect(console.number("ended")).to_have_text("1 / 1")


@pytest.mark.parametrize(
    ("status", "said"),
    [(429, "The service is limiting requests."), (503, "The service is temporarily unavailable.")],
)
def test_a_call_that_may_succeed_later_is_made_again_with_the_same_key(
    console: Console, status: int, said: str
) -> None:
    # GIVEN a service that refuses the first call for a while
    keys: list[str | None] = []

    def refuse_once(route: Route) -> None:
        keys.append(route.request.header_value("idempotency-key"))
        if len(keys) == 1:
            route.fulfill(status=status, headers={"Retry-After": "2"}, body='{"title": "Later"}')
        else:
            route.continue_()

    console.page.route("**/tasks", refuse_once)
    console.page.get_by_role("button", name="Fill in an example").click()

    # WHEN prompts are sent, THEN the wait is said
    console.page.get_by_role("button", name="Send 4 prompts").click()
    expect(console.page.get_by_role("alert").filter(has_text=said)).to_contain_text("Retrying in")

    # AND they are accepted in the end, by the same call
    expect(console.heading).to_have_text("4 tasks")
    expect(console.page.locator("#notice")).to_be_hidden()
    assert len(keys) == 2
    assert keys[0] == keys[1]


def test_a_connection_that_comes_back_is_used_at_once(console: Console) -> None:
    console.send("Tell me about rivers [[tokens:100]] [[delay:0.1]]")
    expect(console.row(1)).to_have_attribute("data-status", "processing")

    console.page.context.set_offline(True)
    expect(console.page.get_by_text("No connection to the service.")).to_be_visible()
    console.page.context.set_offline(False)

    expect(console.page.locator("#notice")).to_be_hidden()
    expect(console.number("ended")).to_have_text("1 / 1")


def test_a_refused_call_names_the_line(console: Console) -> None:
    console.page.get_by_text("Options").click()
    console.page.get_by_label("Format").select_option("jsonl")
    console.page.get_by_label("Prompts").fill('{"prompt": "fine"}\n\n{"prompt": "not", "model": "no-such-model"}')
    console.page.get_by_role("button", name="Send 2 prompts").click()

    rejected = console.page.get_by_role("alert").filter(has_text="The request was rejected")
    expect(rejected).to_contain_text("Line 3, model:")
    expect(console.page.get_by_label("Prompts")).to_have_value(re.compile("no-such-model"))


def test_a_batch_that_nobody_has_is_said_to_be_none(console: Console) -> None:
    console.open(f"#run={'0' * 36}")

    expect(console.page.get_by_text(re.compile("No such batch exists|This batch has expired"))).to_be_visible()


# ---- How it looks ----------------------------------------------------------------------------------------------------


def test_it_is_light_or_dark_as_the_system_or_as_somebody_wants(console: Console) -> None:
    page = console.page

    def ground() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    page.emulate_media(color_scheme="light")
    light = ground()
    page.emulate_media(color_scheme="dark")
    dark = ground()
    assert light != dark

    page.get_by_role("button", name=re.compile("Theme: system")).click()
    assert ground() == light
    page.reload()
    assert ground() == light
    page.get_by_role("button", name=re.compile("Theme: light")).click()
    page.emulate_media(color_scheme="light")
    assert ground() == dark


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_every_text_can_be_read(window: Callable[..., Page], colours: str) -> None:
    console = Console(window(color_scheme=colours, reduced_motion="reduce"))
    console.open()
    console.page.get_by_role("button", name="Fill in an example").click()
    console.page.get_by_text("Options").click()
    assert low_contrasts(console.page) == []

    console.use_key(API_KEY)
    console.send("A joke about plants", "Forbidden [[fault:policy]]", f"Tell me about rivers {SLOW}")
    expect(console.row(1)).to_have_attribute("data-status", "completed")
    expect(console.row(2)).to_have_attribute("data-status", "failed")
    console.row(2).click()
    expect(console.panel.locator("tbody tr")).to_have_count(1)
    assert low_contrasts(console.page) == []

    console.page.get_by_role("button", name="Cancel the rest").click()
    console.page.get_by_role("button", name="Cancel them").click()
    expect(console.number("ended")).to_have_text("3 / 3")
    assert low_contrasts(console.page) == []


def test_a_phone_shows_all_of_it_without_scrolling_sideways(window: Callable[..., Page]) -> None:
    console = Console(window(viewport=PHONE, has_touch=True))
    page = console.page

    def overhang() -> int:
        return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))

    console.open()
    assert overhang() == 0
    console.use_key(API_KEY)
    console.send("A joke about plants", f"A very long line {'word ' * 60}", "Forbidden [[fault:context]]")
    expect(console.number("ended")).to_have_text("3 / 3")
    assert overhang() == 0

    console.row(2).tap()
    expect(page.locator("#answer")).not_to_be_empty()
    assert overhang() == 0
    box = console.panel.bounding_box()
    assert box is not None
    assert box["width"] == PHONE["width"]
    page.get_by_role("button", name="Close the task").tap()
    expect(console.panel).to_be_hidden()


# ---- The keyboard ----------------------------------------------------------------------------------------------------


def test_the_keyboard_alone_sends_opens_closes_and_begins_anew(console: Console) -> None:
    page = console.page
    page.get_by_label("Prompts").focus()
    page.keyboard.type("A joke about plants")
    page.keyboard.press("Control+Enter")
    expect(console.heading).to_have_text("1 task")
    expect(console.number("ended")).to_have_text("1 / 1")

    page.keyboard.press("j")
    expect(console.row(1)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    expect(console.panel.get_by_role("heading", name="Task 1")).to_be_focused()
    page.keyboard.press("Escape")
    expect(console.panel).to_be_hidden()
    expect(page.get_by_role("listbox", name="Tasks")).to_be_focused()

    page.keyboard.press("/")
    expect(page.get_by_label("Find a prompt or name")).to_be_focused()
    page.keyboard.type("?t")
    expect(page.get_by_label("Find a prompt or name")).to_have_value("?t")
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")
    page.keyboard.press("Escape")

    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_hidden()
    page.keyboard.press("n")
    expect(page.get_by_label("Prompts")).to_be_focused()


def test_a_key_counts_from_the_moment_a_dialog_is_closed_wherever_the_browser_has_left_the_focus(
    console: Console,
) -> None:
    page = console.page
    page.get_by_label("Prompts").fill("A joke about plants")
    page.keyboard.press("Control+Enter")
    expect(console.heading).to_have_text("1 task")

    # Chromium leaves the focus on the hidden box until it draws the next frame; the key is pressed before that.
    left_on = page.evaluate("""() => {
        document.activeElement.blur();
        document.getElementById("show-help").click();
        document.getElementById("help-dialog").close();
        const focused = document.activeElement;
        focused.dispatchEvent(new KeyboardEvent("keydown", { key: "n", bubbles: true }));
        return focused.id;
    }""")
    assert left_on == "single-keys"

    expect(page.get_by_label("Prompts")).to_be_focused()


def test_a_key_that_is_pressed_again_does_nothing_twice(console: Console) -> None:
    # GIVEN a run with a task that has failed and one that goes on, and a service that takes its time to answer
    page = console.page
    console.send("Forbidden [[fault:policy]]", f"Tell me about rivers {SLOW}")
    expect(console.number("failed")).to_have_text("1")
    console.row(2).click()
    expect(console.panel).to_have_attribute("data-status", "processing")
    retries, cancels = Held(page, "**/batches/*/retry"), Held(page, "**/tasks/*/cancel")

    # WHEN it is asked twice to send the failed one again, and to cancel the other, THEN each is done once
    for key in "rrcc":
        page.keyboard.press(key)
    retries.next().continue_()
    expect(console.heading).to_have_text("3 tasks")
    cancels.next().continue_()
    expect(console.panel).to_have_attribute("data-status", "cancelled")
    expect(console.number("ended")).to_have_text("3 / 3")
    assert (len(retries.keys), len(cancels.keys)) == (1, 1)


def test_a_key_that_is_held_down_moves_through_the_tasks_and_does_nothing_else_again(console: Console) -> None:
    page = console.page
    console.send(*(f"Story {number}" for number in range(1, 6)))
    expect(console.number("ended")).to_have_text("5 / 5")

    page.keyboard.press("j")
    for _ in range(3):
        page.keyboard.down("j")
    expect(console.row(4)).to_have_attribute("aria-selected", "true")
    page.keyboard.up("j")

    saved: list[Download] = []

    def keep(download: Download) -> None:
        saved.append(download)

    page.on("download", keep)
    with page.expect_download():
        page.keyboard.down("d")
    expect(page.get_by_role("button", name="Download")).to_be_enabled()
    page.keyboard.down("d")
    expect(page.get_by_role("button", name="Download")).to_be_enabled()
    page.keyboard.up("d")
    with page.expect_download():
        page.keyboard.press("d")
    assert len(saved) == 2


def test_single_keys_can_be_turned_off(console: Console) -> None:
    page = console.page
    page.get_by_role("button", name="Keyboard shortcuts").click()
    page.get_by_label("Enable single-key shortcuts").uncheck()
    page.get_by_role("dialog", name="Keyboard shortcuts").get_by_role("button", name="Close").click()

    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_hidden()


def test_the_focus_is_seen_on_its_way_through_the_page(console: Console) -> None:
    page = console.page
    page.keyboard.press("Tab")
    seen = set()
    while page.evaluate("document.activeElement !== document.body"):
        width = page.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineWidth)")
        style = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        seen.add(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
        assert (width >= 2, style) == (True, "solid"), seen
        page.keyboard.press("Tab")
    assert len(seen) >= 8
