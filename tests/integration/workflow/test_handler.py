"""Test the workflow worker's handler end to end in one process."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from pydantic import BaseModel

from common.domain.task import FailureCode, TaskStatus
from functions.workflow.workflow import Chain, Chat, Workflow
from tests.integration.workflow.conftest import Start
from tests.integration.workflow.doomed import Given, two_steps
from tests.integration.workflow.environment import WorkflowEnvironment


def made_by(build: Callable[[Chat], Chain]) -> Workflow[Given]:
    return Workflow("made", Given, build)


@pytest.fixture
def environment(start: Start) -> Iterator[WorkflowEnvironment]:
    with start() as environment:
        yield environment


@pytest.mark.parametrize(
    ("workflow", "given", "calls"),
    [
        ("story", {"topic": "a magical forest"}, 1),
        ("summarize_articles", {"articles": ["About trees.", "About the sea.", "About money."]}, 4),
        ("translate_and_review", {"text": "Good morning.", "language": "German"}, 2),
    ],
)
def test_a_workflow_that_ships_gives_a_text_and_the_sum_of_what_its_steps_cost(
    environment: WorkflowEnvironment, workflow: str, given: dict[str, Any], calls: int
) -> None:
    asked = environment.model.calls.total
    ref = environment.start(workflow, **given)

    assert environment.deliver() == 0

    record = environment.task(ref)
    assert record.status is TaskStatus.COMPLETED
    assert record.answer is not None
    assert record.answer.text
    assert record.answer.finish_reason == "stop"
    assert record.answer.usage is not None
    assert record.answer.usage.completion_tokens > calls
    assert environment.model.calls.total - asked == calls


def test_a_second_invocation_of_one_environment_works_as_the_first(environment: WorkflowEnvironment) -> None:
    for topic in ("trees", "dogs"):
        ref = environment.start("story", topic=topic)
        assert environment.deliver() == 0
        assert environment.task(ref).status is TaskStatus.COMPLETED


def test_a_step_that_is_done_is_not_paid_for_again_when_a_later_one_failed(start: Start) -> None:
    # GIVEN a workflow whose second call fails the first time
    with start(two_steps("one", "[[fault:500x1]] two")) as environment:
        asked = environment.model.calls.total
        ref = environment.start("two", word="apple")
        assert environment.deliver() == 1
        assert environment.task(ref).status is TaskStatus.QUEUED

        # WHEN it is delivered again
        assert environment.deliver() == 0

    # THEN the first step has been asked once and the second twice
    record = environment.task(ref)
    assert record.status is TaskStatus.COMPLETED
    assert environment.model.calls.total - asked == 3
    assert record.answer is not None
    assert record.answer.usage is not None
    assert [attempt.code for attempt in record.attempts] == [FailureCode.SERVER_ERROR, None]


def test_what_its_steps_have_cost_is_the_same_however_many_attempts_there_were(start: Start) -> None:
    usages = []
    for word, second in (("pear1", "two"), ("pear2", "[[fault:500x1]] two")):
        with start(two_steps("one", second)) as environment:
            ref = environment.start("two", word=word)
            while environment.deliver():
                pass
            answer = environment.task(ref).answer
            assert answer is not None
            usages.append(answer.usage)
    assert usages[0] is not None
    assert usages[1] is not None
    assert usages[0].completion_tokens == usages[1].completion_tokens


def test_a_step_has_as_many_attempts_as_a_prompt(start: Start) -> None:
    with start(two_steps("[[fault:500x2]] one", "[[fault:500x2]] two")) as environment:
        asked = environment.model.calls.total
        ref = environment.start("two", word="cherry")
        back = [environment.deliver() for _ in range(5)]

    assert back == [1, 1, 1, 1, 0]
    assert environment.task(ref).status is TaskStatus.COMPLETED
    assert environment.model.calls.total - asked == 6


def test_a_step_that_fails_in_every_attempt_fails_the_task(start: Start) -> None:
    with start(two_steps("one", "[[fault:500]] two")) as environment:
        asked = environment.model.calls.total
        ref = environment.start("two", word="plum")
        back = [environment.deliver() for _ in range(3)]

    record = environment.task(ref)
    assert back == [1, 1, 0]
    assert (record.code, record.last_code) == (FailureCode.ATTEMPTS_EXHAUSTED, FailureCode.SERVER_ERROR)
    assert environment.model.calls.total - asked == 4


def test_a_step_that_fails_beside_others_is_the_only_one_that_is_asked_again(
    environment: WorkflowEnvironment,
) -> None:
    # GIVEN ten articles, of which the first is refused once while the others are under way
    articles = [f"[[latency:0.1]] Article {number}." for number in range(9)]
    asked = environment.model.calls.total
    ref = environment.start("summarize_articles", articles=["[[fault:500x1]] About beans.", *articles])

    # WHEN it is delivered twice
    assert environment.deliver() == 1
    assert environment.model.calls.total - asked == 10
    assert environment.deliver() == 0

    # THEN the first has been asked twice, the others once, and then all of them together
    assert environment.task(ref).status is TaskStatus.COMPLETED
    assert environment.model.calls.total - asked == 12


def test_a_rate_limit_costs_no_attempt(start: Start) -> None:
    with start(two_steps("one", "[[fault:429x1]] [[retry-after:100]] two")) as environment:
        ref = environment.start("two", word="quince")
        assert environment.deliver() == 1

        record = environment.task(ref)
        assert record.status is TaskStatus.QUEUED
        assert record.waiting_on == "rate_limit"
        assert record.attempts == ()


@pytest.mark.parametrize(
    ("workflow", "given", "code"),
    [
        ("story", {"topic": ""}, FailureCode.INVALID_INPUT),
        ("story", {"subject": "trees"}, FailureCode.INVALID_INPUT),
        ("gone", {"topic": "trees"}, FailureCode.UNKNOWN_WORKFLOW),
    ],
)
def test_a_task_that_no_workflow_takes_fails_unpaid(
    environment: WorkflowEnvironment, workflow: str, given: dict[str, Any], code: FailureCode
) -> None:
    asked = environment.model.calls.total
    ref = environment.start(workflow, **given)

    assert environment.deliver() == 0

    assert environment.task(ref).code is code
    assert environment.model.calls.total == asked


def test_an_exception_of_a_chain_fails_the_task_with_its_type_and_without_its_text(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    def build(chat: Chat) -> Chain:
        def burst(text: str) -> str:
            raise ZeroDivisionError(text)

        return ChatPromptTemplate.from_template("{word}") | chat() | StrOutputParser() | RunnableLambda(burst)

    with start(made_by(build)) as environment:
        ref = environment.start("made", word="a secret word")
        assert environment.deliver() == 0

    record = environment.task(ref)
    assert (record.code, record.error_type) == (FailureCode.CHAIN_FAILED, "ZeroDivisionError")
    assert "secret" not in capsys.readouterr().out


def test_a_chain_may_give_what_json_can_hold(start: Start) -> None:
    class Judged(BaseModel):
        good: bool
        why: str

    def build(chat: Chat) -> Chain:
        return ChatPromptTemplate.from_template("Judge {word}") | chat().with_structured_output(Judged)

    with start(made_by(build)) as environment:
        ref = environment.start("made", word="apple")
        assert environment.deliver() == 0

    answer = environment.task(ref).answer
    assert answer is not None
    assert Judged.model_validate_json(answer.text).why


def test_a_chain_that_does_not_await_its_model_fails_and_says_so(start: Start) -> None:
    def build(chat: Chat) -> Chain:
        model = chat()
        return RunnableLambda(lambda given: model.invoke(given["word"]).text)

    with start(made_by(build)) as environment:
        ref = environment.start("made", word="apple")
        environment.deliver()

    assert environment.task(ref).error_type == "AwaitItError"
