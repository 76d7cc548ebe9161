"""Test the calculation of the cost table."""

from collections import Counter

import pytest

from benchmarks.bill import DOLLARS, EVENT_SOURCES, PRICES, Choice, Taken, lines
from benchmarks.calls import MILLISECONDS, Counts, at_seconds
from benchmarks.cost import (
    CHOICES,
    DEFAULT,
    WORKER_TIMEOUT,
    bill,
    billed_seconds,
    makespan,
    measure,
    overhead,
    processor_of_a_piece,
    streamed_slope,
)
from benchmarks.counting import commands_in
from tests.infra.stack import read_template

NOTHING = (0.0, 0.0)


def run(size: int, billed_ms: int, **counts: int) -> Counter[str]:
    """Make the counts of two invocations."""
    return Counter({"prompts": 2 * size, "invocations": 2, "billed_ms": 2 * billed_ms, **counts})


COUNTS: Counts = {
    # 20 ms an invocation and 1 ms a prompt; 300 bytes of log an invocation and 500 a prompt
    (10, 0): run(10, MILLISECONDS + 30, sqs_billed=6, log_bytes=10_600),
    (10, 5): run(10, 9_999, sqs_billed=9, log_bytes=99_999),
    (100, 0): run(100, MILLISECONDS + 120, sqs_billed=60, log_bytes=100_600, processor_us=400_000),
    (100, 0, 1): run(100, 1_220, redis_in=200_000, processor_us=1_400_000),
    (100, 0, 5): run(100, 5_320, redis_in=360_000, processor_us=1_500_000),
}


def test_one_prompt_an_invocation_is_billed_for_just_that() -> None:
    assert makespan(1, 1) == 1
    assert billed_seconds(Choice(1, 1, 1769), 5.0, (0.02, 0.001)) == pytest.approx(5.021)


def test_less_memory_makes_only_the_workers_own_part_longer() -> None:
    assert billed_seconds(Choice(1, 1, 1769 // 4), 5.0, (0.02, 0.001)) == pytest.approx(5.084, abs=0.001)
    assert billed_seconds(Choice(1, 1, 10_000), 5.0, (0.02, 0.001)) == pytest.approx(5.021)


def test_draws_are_the_same_for_every_memory_and_in_proportion_to_the_mean() -> None:
    small, large = Choice(10, 10, 512), Choice(10, 10, 1769)

    assert billed_seconds(small, 5.0, NOTHING) == billed_seconds(large, 5.0, NOTHING) == 5 * makespan(10, 10)
    assert billed_seconds(small, 30.0, NOTHING) == pytest.approx(6 * billed_seconds(small, 5.0, NOTHING))


def test_a_batch_takes_longer_in_fewer_slots() -> None:
    assert 1 < makespan(10, 10) < makespan(10, 5) < makespan(10, 1) == pytest.approx(10, rel=0.05)


def test_a_bill_is_what_one_works_out_by_hand() -> None:
    found = lines(Choice(100, 100, 512), 5, 16.0, Taken((600, 500), {10: 0.4, 100: 0.3}))

    assert found == pytest.approx(
        {
            "worker": 80_000 * DOLLARS["lambda_gb_second_arm"],
            "NAT, data": 61.5 * DOLLARS["nat_gb"],
            "log": 0.51 * DOLLARS["logs_gb"],
            "SQS": 0.3 * DOLLARS["sqs_million_fair_requests"],
            "API Gateway": 0.03 * DOLLARS["rest_api_million_calls"],
            "submit and status": 2_500 * DOLLARS["lambda_gb_second_arm"],
            "Lambda's requests": 0.04 * DOLLARS["lambda_million_requests"],
            "X-Ray": 0.002 * DOLLARS["xray_million_traces"],
        }
    )


@pytest.mark.parametrize(("batch", "requests"), [(1, 2.1), (10, 0.4), (100, 0.3), (1000, 0.3)])
def test_requests_to_sqs_are_those_of_the_nearest_batch_that_was_counted(batch: int, requests: float) -> None:
    assert Taken(NOTHING, {10: 0.4, 100: 0.3}).sqs_of(batch) == pytest.approx(requests)


def test_what_an_invocation_takes_beyond_the_model_is_a_line_through_the_fault_free_runs() -> None:
    assert overhead(COUNTS) == pytest.approx((0.020, 0.001))
    # 220 and 320 ms for a hundred prompts, 20 of them the invocation's own
    assert [streamed_slope(COUNTS, seconds) for seconds in (1, 5)] == pytest.approx([0.002, 0.003])
    # 7 ms a prompt of which 2 are those of a whole answer, in 50 pieces
    assert processor_of_a_piece(COUNTS) == pytest.approx(0.0001)


def test_a_longer_answer_is_charged_with_what_the_long_stream_took() -> None:
    worker = 10_000 * (30 * makespan(100, 100) + (0.02 + 0.3) * 1769 / 1024) * DOLLARS["lambda_gb_second_arm"]

    assert bill(DEFAULT, 30, COUNTS)["worker"] == pytest.approx(worker)
    assert bill(DEFAULT, 30, COUNTS)["log"] == pytest.approx(0.507 * DOLLARS["logs_gb"])


def test_what_a_stream_adds_goes_on_in_a_straight_line_and_never_falls() -> None:
    found = at_seconds(COUNTS | {(100, 0, 1): run(100, 0, redis_in=200_000, calls=300)}, 30)

    assert found["redis_in"] == pytest.approx(1_000 + 29 * 200)
    assert found["calls"] == pytest.approx(1.5)


def test_the_row_whose_batches_outlast_the_workers_timeout_is_marked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("benchmarks.cost.bars", lambda *_, **__: "")

    rows = [line for line in measure(COUNTS).text().splitlines() if " at a time" in line and line.startswith("|")]

    assert len(rows) == len(CHOICES) - 1
    assert [row.split("|")[1].strip() for row in rows if "*" in row] == ["batch 1,000, 100 at a time, 1,024 MB"]


def test_the_default_is_that_of_the_template() -> None:
    template = read_template()
    parameters = {name: each.get("Default") for name, each in template["Parameters"].items()}
    functions = [each for each in template["Resources"].values() if each["Type"] == "AWS::Serverless::Function"]
    events = [event for each in functions for event in each["Properties"].get("Events", {}).values()]
    memory = template["Resources"]["WorkerFunction"]["Properties"]["MemorySize"]

    assert Choice(parameters["BatchSize"], parameters["Concurrency"], memory) == DEFAULT
    assert parameters["WorkerTimeout"] == WORKER_TIMEOUT
    assert sum(event["Type"] == "SQS" for event in events) == EVENT_SOURCES


def test_every_price_is_positive_and_says_where_it_is_from() -> None:
    entries = [*PRICES["dollars"].values(), *PRICES["hosted_million"].values()]

    assert all(price > 0 and (source == "memory" or ", " in source) for price, source in entries)


def test_commands_of_a_write_are_counted_whatever_they_carry() -> None:
    get = b"*2\r\n$3\r\nGET\r\n$10\r\n*1\r\n$4\r\nab\r\n"

    assert commands_in(get) == 1
    assert commands_in(get + b"*1\r\n$4\r\nPING\r\n" + get) == 3
