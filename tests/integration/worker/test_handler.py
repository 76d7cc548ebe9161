"""Test the worker's handler end to end in one process."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator

import pytest
from redis import Redis

from common.domain.backlog import BacklogQueue
from common.domain.errors import SettingError
from common.domain.task import FailureCode, ProviderError, TaskRecord, TaskStatus, WaitingOn
from common.store.keys import backlog_key
from local.answers import prompt_digest
from tests.integration.worker.environment import VISIBILITY_SECONDS, WorkerEnvironment, prompt_in
from tests.invocation import Context, started

TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


def calls_of(environment: WorkerEnvironment, prompt: str) -> int:
    return environment.model.calls.by_prompt[prompt_digest(prompt)]


def test_two_invocations_of_one_environment_answer_their_prompts(environment: WorkerEnvironment) -> None:
    first = [f"joke {n}, please" for n in range(10)]
    second = [f"joke {n}, please" for n in range(10, 13)]

    environment.send(*first)
    assert environment.invoke(environment.receive()) == set()
    environment.send(*second)
    assert environment.invoke(environment.receive()) == set()

    for prompt in first + second:
        record = environment.record(prompt)
        assert record.status is TaskStatus.COMPLETED
        assert record.answer is not None
        assert record.answer.text
        assert record.answer.usage is not None
        assert record.answer.finish_reason == "stop"
        assert calls_of(environment, prompt) == 1
    assert environment.seconds_until_visible() == {}


@pytest.fixture
def capped(worker_settings: pytest.MonkeyPatch) -> None:
    worker_settings.setenv("MAX_QUEUE_DEPTH", "100")


@pytest.mark.usefixtures("capped")
def test_a_worker_of_a_capped_queue_makes_room_for_its_tenants(environment: WorkerEnvironment) -> None:
    environment.send("good", "[[fault:500]] [[retry-after:100]] fails")
    batch_id = environment.record("good").ref.batch_id
    with Redis(host=environment.redis.host, port=environment.redis.port, decode_responses=True) as redis:
        key = backlog_key("acme", BacklogQueue.TASKS)
        redis.zadd(key, {f"{batch_id}-0": 4e12, f"{batch_id}-1": 4e12})
        redis.expire(key, 600)

        environment.invoke(environment.receive())

        assert redis.zrange(key, 0, -1) == [f"{batch_id}-1"]


def test_nothing_is_left_running_between_two_invocations(environment: WorkerEnvironment) -> None:
    environment.send("one", "[[fault:500]] two", "[[fault:cut]] three")

    environment.invoke(environment.receive())

    assert asyncio.all_tasks(environment.handler.RUNNER.get_loop()) == set()


def test_of_a_batch_only_what_failed_for_now_comes_back_and_when_it_is_due(environment: WorkerEnvironment) -> None:
    failed, limited = "[[fault:500]] [[retry-after:100]] fails", "[[fault:429]] [[retry-after:200]] limited"
    refused, good = "[[fault:context]] too long", "good"
    environment.send(failed, good, limited, refused)

    assert environment.invoke(environment.receive()) == {failed, limited}

    waits = environment.seconds_until_visible()
    assert set(waits) == {failed, limited}
    assert 90 < waits[failed] <= 111
    assert 190 < waits[limited] <= 221
    assert environment.record(good).status is TaskStatus.COMPLETED
    assert environment.record(refused).code is FailureCode.CONTEXT_LENGTH_EXCEEDED
    assert [len(environment.record(prompt).attempts) for prompt in (failed, limited)] == [1, 0]
    [attempt] = environment.record(refused).attempts
    assert attempt.provider_error == ProviderError(code="context_length_exceeded")


@pytest.mark.parametrize(("receives", "marks"), [(2, set()), (3, {"Suspect"})])
def test_a_429_pauses_the_model_and_what_waits_again_is_a_new_message(
    environment: WorkerEnvironment, receives: int, marks: set[str]
) -> None:
    limited, next_one = "[[fault:429]] [[retry-after:40]] limited", "next in the queue"
    environment.send(limited)
    assert environment.invoke(environment.receive()) == {limited}

    # WHEN a later delivery of another message comes into the pause
    environment.send(next_one)
    event = environment.receive()
    event["Records"][0]["attributes"]["ApproximateReceiveCount"] = str(receives)
    event["Records"][0]["attributes"]["AWSTraceHeader"] = TRACE
    assert environment.invoke(event) == set()

    # THEN there is one new message that comes after the pause, and nothing was claimed or asked
    [message] = [message for message in environment.messages() if prompt_in(message.body) == next_one]
    assert message.delayed_until / 1000 - time.time() == pytest.approx(42, abs=5)
    assert message.group_id == "acme"
    assert set(message.message_attributes) == marks
    assert TRACE in str(message.system_attributes["AWSTraceHeader"])
    assert calls_of(environment, next_one) == 0
    record = environment.record(next_one)
    assert (record.status, record.attempts) == (TaskStatus.QUEUED, ())
    assert record.waiting_on is WaitingOn.RATE_LIMIT


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("500", FailureCode.SERVER_ERROR),
        ("reset", FailureCode.CONNECTION),
        ("cut", FailureCode.CONNECTION),
        ("nofinish", FailureCode.STREAM_CUT),
        ("html", FailureCode.UNREADABLE_ANSWER),
        ("garbage", FailureCode.UNREADABLE_ANSWER),
        ("empty", FailureCode.STREAM_CUT),
    ],
)
def test_a_call_that_fails_once_is_answered_on_the_next_delivery(
    environment: WorkerEnvironment, fault: str, code: FailureCode
) -> None:
    prompt = f"[[fault:{fault}x1]] second time lucky, {code}"
    environment.send(prompt)
    event = environment.receive()

    assert environment.invoke(event) == {prompt}
    record = environment.record(prompt)
    assert (record.status, record.last_code) == (TaskStatus.QUEUED, code)

    # The same delivery again stands for the queue's next one.
    assert environment.invoke(event) == set()
    record = environment.record(prompt)
    assert record.status is TaskStatus.COMPLETED
    assert [attempt.code for attempt in record.attempts] == [code, None]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("401", FailureCode.UNAUTHORIZED),
        ("quota", FailureCode.QUOTA_EXHAUSTED),
        ("policy", FailureCode.CONTENT_POLICY),
        ("404", FailureCode.MODEL_NOT_FOUND),
    ],
)
def test_what_no_retry_cures_fails_at_once(environment: WorkerEnvironment, fault: str, code: FailureCode) -> None:
    prompt = f"[[fault:{fault}]] never"
    environment.send(prompt)

    assert environment.invoke(environment.receive()) == set()

    assert environment.record(prompt).code is code
    assert calls_of(environment, prompt) == 1


def test_at_the_soft_stop_a_hanging_call_is_released_and_comes_back_at_once(
    worker_settings: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    worker_settings.setenv("WORKER_TIMEOUT_SECONDS", "10")
    worker_settings.setenv("MODEL_TIMEOUT_SECONDS", "8")
    environment: WorkerEnvironment = request.getfixturevalue("environment")
    environment.send("warm up")
    environment.invoke(environment.receive())
    prompt = "[[fault:hang]] stop"
    environment.send(prompt, "quick")

    assert environment.invoke(environment.receive(), remaining=4) == {prompt}

    record = environment.record(prompt)
    assert (record.status, len(record.attempts), record.last_code) == (TaskStatus.QUEUED, 1, FailureCode.WORKER_STOPPED)
    assert environment.seconds_until_visible()[prompt] <= 0
    assert environment.record("quick").status is TaskStatus.COMPLETED


def test_a_message_is_hidden_for_little_longer_than_its_worker_may_be_dead(
    worker_settings: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    worker_settings.setenv("LEASE_SECONDS", "3")
    environment: WorkerEnvironment = request.getfixturevalue("environment")
    environment.send("quick", "[[latency:2.5]] slow")

    answer = environment.handler.lambda_handler(environment.receive(), Context("worker", remaining_ms=300_000))

    # Nothing was deleted yet, as if the worker had died in the end.
    assert answer == {"batchItemFailures": []}
    hidden = environment.seconds_until_visible()
    assert 0 < hidden["[[latency:2.5]] slow"] <= 5
    assert hidden["quick"] > VISIBILITY_SECONDS - 60


def test_while_an_answer_streams_its_progress_and_its_beginning_can_be_read(environment: WorkerEnvironment) -> None:
    prompt = "[[tokens:60]] [[delay:0.04]] slowly"
    environment.send(prompt, max_tokens=80)
    event = environment.receive()
    invocation = threading.Thread(target=environment.invoke, args=(event,))
    invocation.start()
    seen = [record for record in polled(environment, prompt, invocation) if record.partial]
    invocation.join()

    answer = environment.record(prompt).answer
    assert answer is not None
    assert seen
    assert all(record.partial and answer.text.startswith(record.partial) for record in seen)
    assert all(0 < record.progress < 100 for record in seen)
    assert environment.record(prompt).progress == 100


def test_a_prompt_with_tools_is_answered_by_their_calls(environment: WorkerEnvironment) -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    tools = [{"type": "function", "function": {"name": name, "parameters": parameters}} for name in ("rain", "trains")]
    environment.send("Rain?", tools=tools, tool_choice="required", parallel_tool_calls=True)

    assert environment.invoke(environment.receive()) == set()

    answer = environment.record("Rain?").answer
    assert answer is not None
    assert (answer.text, answer.finish_reason) == ("", "tool_calls")
    assert [call.name for call in answer.tool_calls] == ["rain", "trains"]
    assert all(set(json.loads(call.arguments)) == {"city"} for call in answer.tool_calls)


def test_an_answer_fits_the_schema_that_the_prompt_asks_for(environment: WorkerEnvironment) -> None:
    schema = {"type": "object", "properties": {"mood": {"enum": ["good", "bad"]}}}
    environment.send("How?", response_format={"type": "json_schema", "json_schema": {"name": "mood", "schema": schema}})

    assert environment.invoke(environment.receive()) == set()

    answer = environment.record("How?").answer
    assert answer is not None
    assert json.loads(answer.text) == {"mood": "good"}


def test_a_cancel_reaches_a_call_whose_model_is_silent(environment: WorkerEnvironment) -> None:
    prompt = "[[fault:hang]] forgotten"
    environment.send(prompt)
    event = environment.receive()
    invocation = threading.Thread(target=environment.invoke, args=(event,))
    invocation.start()
    assert any(calls_of(environment, prompt) for _ in polled(environment, prompt, invocation))

    environment.cancel(prompt)
    invocation.join(30)

    # The call itself hangs for 120 seconds; the worker looks for a cancellation every second.
    assert not invocation.is_alive()
    assert environment.model.calls.in_flight == 0
    assert environment.record(prompt).status is TaskStatus.CANCELLED


def polled(environment: WorkerEnvironment, prompt: str, invocation: threading.Thread) -> Iterator[TaskRecord]:
    while invocation.is_alive():
        yield environment.record(prompt)
        invocation.join(0.2)


def test_without_redis_no_call_is_made(worker_settings: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    worker_settings.setenv("REDIS_PORT", "1")
    environment: WorkerEnvironment = request.getfixturevalue("environment")
    environment.send("nobody home")

    assert environment.invoke(environment.receive()) == {"nobody home"}

    assert calls_of(environment, "nobody home") == 0
    assert environment.seconds_until_visible()["nobody home"] <= 1
    assert environment.record("nobody home").status is TaskStatus.QUEUED


def test_without_the_models_key_nothing_is_claimed(
    worker_settings: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    worker_settings.setenv("OPENAI_API_KEY_SECRET", "sluice/absent")
    environment: WorkerEnvironment = request.getfixturevalue("environment")
    environment.send("no key")

    assert environment.invoke(environment.receive()) == {"no key"}

    assert calls_of(environment, "no key") == 0
    assert environment.record("no key").attempts == ()


def test_a_queue_that_refuses_the_back_off_leaves_it_to_its_visibility_timeout(environment: WorkerEnvironment) -> None:
    prompt = "[[fault:500]] lost receipt"
    environment.send(prompt)
    event = environment.receive()
    for record in event["Records"]:
        record["receiptHandle"] = "forged"

    assert environment.invoke(event) == {prompt}

    assert environment.seconds_until_visible()[prompt] == pytest.approx(VISIBILITY_SECONDS, abs=30)


def test_no_word_of_prompt_or_answer_is_printed(
    capfd: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    # After capfd, so that the logger which the cold start makes writes to what is captured.
    environment: WorkerEnvironment = request.getfixturevalue("environment")
    faults = ["", "[[fault:500]]", "[[fault:400]]", "[[fault:garbage]]", "[[fault:policy]]", "[[fault:429]]"]
    environment.send(*(f"{fault} Attack at dawn {n}" for n, fault in enumerate(faults)))

    environment.invoke(environment.receive())
    record = environment.record(" Attack at dawn 0")
    answer = record.answer
    printed = "".join(capfd.readouterr())

    assert answer is not None
    assert record.ref.task_id in printed
    assert "Attack" not in printed
    assert answer.text not in printed
    assert "sk-test" not in printed


@pytest.mark.parametrize(
    "name",
    ["QUEUE_URL", "WEBHOOK_QUEUE_URL", "CONCURRENCY", "OPENAI_API_KEY_SECRET", "REDIS_HOST", "POWERTOOLS_SERVICE_NAME"],
)
def test_a_missing_setting_stops_the_cold_start_with_its_name(worker_settings: pytest.MonkeyPatch, name: str) -> None:
    worker_settings.setenv("QUEUE_URL", "https://sqs.test/queue")
    worker_settings.delenv(name)

    with pytest.raises(SettingError) as caught:
        started("worker")

    assert caught.value.name == name
