"""One call: what is sent, what is made of the answer, and when it is sent again."""

from decimal import Decimal

import pytest

from sluice import (
    AccessError,
    InvalidRequestError,
    KeyReusedError,
    LimitedError,
    NotConfiguredError,
    NotFoundError,
    Retry,
    ServiceError,
    ServiceUnreachableError,
    Sluice,
    TaskStatus,
    UnreadableAnswerError,
)
from sluice._transports import Endpoint
from tests.client.conftest import Caller, MakeCaller, Time
from tests.client.service import KEY, RESET, Service, problem


def test_a_request_contains_only_the_given_fields(caller: Caller, service: Service) -> None:
    prompts = ["plain", {"prompt": "named", "custom_id": "a"}]
    options = {"model": "m", "params": {"seed": 7}, "extra_body": {"webhook": "https://example.org"}}

    submission = caller.call("submit", prompts, **options, wait_seconds=5)

    [seen] = service.posts()
    assert seen.body == {"prompts": prompts, "model": "m", "params": {"seed": 7}, "webhook": "https://example.org"}
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert seen.headers["prefer"] == "wait=5"
    assert submission.task_ids == ("b0-0", "b0-1")
    assert submission.idempotency_key == seen.headers["idempotency-key"]
    assert submission.raw["a_field_of_tomorrow"] == [1]


def test_requests_of_an_endpoint_are_sent_as_they_are(caller: Caller, service: Service) -> None:
    requests = [{"custom_id": "a", "body": {"model": "m", "input": "A magical forest"}}]

    caller.call("submit", endpoint="/v1/embeddings", requests=requests)

    [seen] = service.posts()
    assert seen.body == {"endpoint": "/v1/embeddings", "requests": requests}


@pytest.mark.parametrize("status", [RESET, 408, 429, 500, 502, 503, 504])
def test_a_call_that_may_succeed_later_is_sent_again_with_the_same_key(
    caller: Caller, service: Service, retries: list[Retry], status: int
) -> None:
    service.fail(status, times=2)

    submission = caller.call("submit", ["once"])

    assert len({seen.headers["idempotency-key"] for seen in service.posts()}) == 1
    assert (len(service.posts()), len(retries)) == (3, 2)
    assert service.asked == ["once"]
    assert submission.task_ids == ("b0-0",)


@pytest.mark.parametrize("code", ["idempotency_key_in_use", "retry_in_use"])
def test_a_conflict_that_ends_by_itself_is_waited_for(caller: Caller, service: Service, code: str) -> None:
    service.fail(409, body=problem(409, code))

    assert caller.call("submit", ["once"]).task_ids == ("b0-0",)


def test_the_pause_is_as_long_as_the_service_says(caller: Caller, service: Service, time: Time) -> None:
    service.fail(503, Retry_After="7")
    service.fail(429, Retry_After="2")

    caller.call("submit", ["x"])

    assert time.slept == [7.0, 2.0]


def test_without_retry_after_the_pauses_grow_with_jitter(make_caller: MakeCaller, service: Service, time: Time) -> None:
    service.fail(500, times=12)

    make_caller(service.url, patience=1_000).call("submit", ["x"])

    assert all(0.25 <= pause <= 15 for pause in time.slept)
    assert time.slept[0] <= 1 < max(time.slept)  # full jitter: any single pause may be short
    assert len(set(time.slept)) == len(time.slept)


def test_the_last_error_is_raised_when_patience_is_over(make_caller: MakeCaller, service: Service, time: Time) -> None:
    service.fail(503, times=1_000, body=problem(503, "store_unavailable", request_id="r-1"))
    start = time.now

    with pytest.raises(ServiceError) as caught:
        make_caller(service.url, patience=60).call("get", "b0-0")

    assert (caught.value.status, caught.value.code, caught.value.request_id) == (503, "store_unavailable", "r-1")
    assert 30 < time.now - start <= 60


def test_a_wait_longer_than_the_patience_is_not_started(caller: Caller, service: Service, time: Time) -> None:
    service.fail(429, Retry_After="3600", body=problem(429, "budget_exhausted"))

    with pytest.raises(LimitedError) as caught:
        caller.call("submit", ["x"])

    assert (caught.value.retry_after, time.slept) == (3600.0, [])


def test_an_unreachable_service_is_reported_with_its_url_and_without_the_key(make_caller: MakeCaller) -> None:
    with pytest.raises(ServiceUnreachableError, match=r"http://127\.0\.0\.1:1 does not answer") as caught:
        make_caller("http://127.0.0.1:1", patience=1).call("get", "b0-0")

    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "invalid_value", InvalidRequestError),
        (413, "too_many_prompts", InvalidRequestError),
        (401, "unauthorized", AccessError),
        (404, "not_found", NotFoundError),
        (409, "idempotency_key_reused", KeyReusedError),
    ],
)
def test_a_refusal_is_raised_at_once(
    caller: Caller, service: Service, status: int, code: str, error: type[Exception]
) -> None:
    service.fail(status, body=problem(status, code, errors=[{"pointer": "/prompts/3", "code": code, "detail": "no"}]))

    with pytest.raises(error) as caught:
        caller.call("submit", ["x"])

    assert len(service.seen) == 1
    assert caught.value.faults[0].pointer == "/prompts/3"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("status", "body"), [(200, b"<html>hello</html>"), (404, b"<html>no</html>"), (301, b""), (200, b"[]")]
)
def test_a_response_that_is_not_from_sluice_is_reported_as_such(
    caller: Caller, service: Service, status: int, body: bytes
) -> None:
    service.fail(status, body=body or b" ")

    with pytest.raises(UnreadableAnswerError):
        caller.call("get", "b0-0")


def test_a_task_keeps_its_exact_cost_and_unknown_fields(caller: Caller, service: Service) -> None:
    service.tasks["b-0"] = {
        "task_id": "b-0",
        "batch_id": "b",
        "status": "hibernating",
        "cost": {"usd": "0.10000000000000001"},
        "usage": {"total_tokens": 3, "dreams": 9},
        "created_at": "2026-11-21T10:00:00.000Z",
        "mood": "good",
        "attempts": [{"started_at": "2026-11-21T10:00:00.030Z", "code": "timeout", "weather": "rain"}],
    }

    task = caller.call("get", "b-0")

    assert (task.status, task.has_ended, task.cost_usd) == (TaskStatus.UNKNOWN, False, Decimal("0.10000000000000001"))
    assert (task.usage.total_tokens, task.attempts[0].code, task.raw["mood"]) == (3, "timeout", "good")
    assert task.created_at.year == 2026


def test_many_tasks_are_requested_in_groups_and_pages_are_followed(caller: Caller, service: Service) -> None:
    ids = [f"b-{place}" for place in range(450)]
    service.fail(
        200, body={"tasks": [{"task_id": "b-0", "status": "queued"}], "next": f"?task_ids={','.join(ids[1:200])}"}
    )

    tasks = caller.call("get_many", ids)

    assert [task.task_id for task in tasks] == ids
    assert [len(seen.query["task_ids"][0].split(",")) for seen in service.seen] == [200, 199, 200, 50]


@pytest.mark.parametrize("to", ["", "https://elsewhere.example/tasks"], ids=["here", "elsewhere"])
def test_a_call_that_waits_has_all_its_tasks_though_they_do_not_fit_one_answer(
    caller: Caller, service: Service, to: str
) -> None:
    # GIVEN an answer with the first of 450 tasks, and a link to the others, longer than a URL may be
    ids = [f"b0-{place}" for place in range(450)]
    service.tasks |= {each: {"task_id": each, "status": "completed", "result": f"Re: {each}"} for each in ids}
    held = {"batch_id": "b0", "task_ids": ids, "status": "ended", "tasks": [service.tasks[ids[0]]]}
    service.fail(200, "/tasks", body=held | {"next": f"{to}?task_ids={','.join(ids[1:])}"})

    submission = caller.call("submit", ["any"], wait_seconds=20)

    assert [task.text for task in submission.tasks] == [f"Re: {each}" for each in ids]
    assert [len(seen.query["task_ids"][0].split(",")) for seen in service.seen[1:]] == [200, 200, 49]


@pytest.mark.parametrize("task_id", ["../batches/x", "a/b", "a?b", "ä"])
def test_an_id_stays_a_part_of_the_path(caller: Caller, service: Service, task_id: str) -> None:
    with pytest.raises(NotFoundError):
        caller.call("get", task_id)

    assert service.seen[0].path == f"/tasks/{task_id}"


@pytest.mark.parametrize("task_id", ["", " \n", ".", ".."])
def test_what_is_no_part_of_a_path_is_no_id(caller: Caller, task_id: str) -> None:
    with pytest.raises(ValueError, match="not a valid ID"):
        caller.call("get", task_id)


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("", KEY),
        ("ftp://example.org", KEY),
        ("example.org", KEY),
        ("https://user:password@example.org", KEY),
        ("https://example.org?x=1", KEY),
        ("https://example.org:x", KEY),
        ("https://example.org", ""),
        ("https://example.org", f"{KEY}\n"),
        ("https://example.org", "schlüssel"),
    ],
)
def test_an_invalid_url_is_rejected_without_showing_secrets(url: str, key: str) -> None:
    with pytest.raises(NotConfiguredError) as caught:
        Endpoint.of(url, key, {})

    assert KEY not in str(caught.value)
    assert "secret@" not in str(caught.value)


def test_the_environment_is_the_default_for_url_and_key() -> None:
    environ = {"SLUICE_URL": "https://example.org/prod/", "SLUICE_API_KEY": KEY}

    address = Endpoint.of(None, None, environ)

    assert (address.url, address.api_key) == ("https://example.org/prod", KEY)
    assert Endpoint.of("https://other.org", None, environ).url == "https://other.org"


def test_no_repr_of_a_client_shows_its_key() -> None:
    with Sluice("https://example.org", KEY) as sluice:
        assert KEY not in repr(sluice) + repr(sluice._transport.endpoint) + repr(sluice._calls)
