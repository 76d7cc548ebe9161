"""Count the requests of one prompt, from POST to its answer."""

from benchmarks.calls import REDIS_GOAL, SQS_GOAL, Kind, counted
from benchmarks.servers import running_servers

PROMPTS = 30


def test_a_prompt_takes_two_round_trips_to_redis_and_a_third_of_a_request_to_sqs_at_most() -> None:
    with running_servers() as servers:
        # WHEN it comes in events of ten, which have the least to share
        run = counted(servers, Kind(10), PROMPTS)

    assert run["calls"] == PROMPTS
    assert 0 < run["redis_trips"] <= REDIS_GOAL * PROMPTS
    assert 0 < run["sqs"] <= SQS_GOAL * PROMPTS
