"""`sluice run`, from the file to the results, through every end it may come to."""

import csv
import json
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.client.command import SECONDS, SLUICE, environment, lines, sluice, started
from tests.client.service import RESET, Seen, Service, problem


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"custom_id": f"c{n}", "prompt": f"prompt {n}"}) + "\n" for n in range(60)))
    return path


def test_results_are_written_in_the_order_of_the_prompts(service: Service, source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"

    done = sluice(service.url, "run", source, "-o", output, "--json", "-m", "gpt-5-nano", "-p", "temperature=0.5")

    assert done.returncode == 0, done.stderr
    results = lines(output)
    assert [(each["line"], each["custom_id"], each["result"]) for each in results] == [
        (n + 1, f"c{n}", f"Re: prompt {n}") for n in range(60)
    ]
    summary = {"completed": 60, "failed": 0, "cancelled": 0, "gone": 0, "tokens": 420, "usd": "0.060"}
    assert json.loads(done.stdout) == {**summary, "output": str(output), "exit": 0}
    assert service.posts()[0].body["params"] == {"temperature": 0.5}
    assert service.posts()[0].body["model"] == "gpt-5-nano"


def test_a_completed_run_submits_nothing_when_repeated(service: Service, source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    sluice(service.url, "run", source, "-o", output)
    before = output.read_bytes()
    asked = len(service.seen)

    again = sluice(service.url, "run", source, "-o", output)

    assert (again.returncode, output.read_bytes()) == (0, before)
    assert "was already complete" in again.stderr
    assert len(service.seen) == asked


def killed_half_way(service: Service, source: Path, output: Path, number: signal.Signals, *options: str) -> int:
    """Start a run, end it when a third of the results are written, and return the exit code."""
    half = threading.Event()
    answer, service.pace = service.answer, 5

    def watching(seen: object) -> object:
        answered = answer(seen)  # type: ignore[arg-type]
        if sum(task["status"] != "queued" for task in service.tasks.values()) >= 20:
            half.set()
        return answered

    service.answer = watching  # type: ignore[assignment, method-assign]
    with started(service.url, "run", source, "-o", output, "--chunk-size", "15", "--in-flight", "30", *options) as run:
        assert half.wait(SECONDS)
        run.send_signal(number)
        _, told = run.communicate(timeout=SECONDS)
    assert "Traceback" not in told
    service.answer, service.pace = answer, 10_000  # type: ignore[method-assign]
    return run.returncode


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130), (signal.SIGTERM, 143)],
    ids=["kill -9", "Ctrl-C", "SIGTERM"],
)
@pytest.mark.parametrize("order", ["in order", "as completed"])
def test_an_interrupted_run_resumes_and_submits_no_prompt_twice(
    service: Service, source: Path, tmp_path: Path, *, number: signal.Signals, code: int, order: str
) -> None:
    # GIVEN a run that is ended, and on top of that a torn line at the end of its results
    output = tmp_path / "out.jsonl"
    options = ["--as-completed"] if order == "as completed" else []
    assert killed_half_way(service, source, output, number, *options) == code
    assert len(lines(output)) < 60
    with output.open("a") as torn:
        torn.write('{"line": 7, "resul')

    # WHEN the same command is given again
    done = sluice(service.url, "run", source, "-o", output, "--chunk-size", "15", "--in-flight", "30", *options)

    # THEN every prompt has its result, once, and was asked once
    assert done.returncode == 0, done.stderr
    results = lines(output)
    assert sorted(each["line"] for each in results) == list(range(1, 61))
    assert all(each["result"] == f"Re: prompt {each['line'] - 1}" for each in results)
    assert ([each["line"] for each in results] == list(range(1, 61))) or options
    assert sorted(service.asked) == sorted(f"prompt {n}" for n in range(60))


def test_a_run_without_journal_and_results_submits_no_prompt_twice(
    service: Service, source: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.jsonl"
    killed_half_way(service, source, output, signal.SIGKILL)
    output.unlink()
    (tmp_path / "out.jsonl.sluice").unlink()

    sluice(service.url, "run", source, "-o", output, "--chunk-size", "15")

    assert len(lines(output)) == 60
    assert sorted(service.asked) == sorted(f"prompt {n}" for n in range(60))


def test_fresh_submits_again_but_only_once(service: Service, source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    sluice(service.url, "run", source, "-o", output)

    killed_half_way(service, source, output, signal.SIGKILL, "--fresh")
    done = sluice(service.url, "run", source, "-o", output, "--chunk-size", "15", "--fresh")

    assert done.returncode == 0, done.stderr
    assert sorted(service.asked) == sorted([f"prompt {n}" for n in range(60)] * 2)


def test_a_lost_request_is_sent_again(service: Service, source: Path, tmp_path: Path) -> None:
    service.fail(RESET, lambda seen: seen.method == "POST", times=1)
    service.fail(503, lambda seen: "prefer" in seen.headers, times=1, Retry_After="1")
    service.fail(429, lambda seen: seen.method == "POST", times=1, Retry_After="1")

    done = sluice(service.url, "run", source, "-o", tmp_path / "out.jsonl")

    assert done.returncode == 0, done.stderr
    assert "retrying in" in done.stderr
    assert len(service.asked) == 60


def test_all_bad_lines_are_reported_and_nothing_is_sent(service: Service, tmp_path: Path) -> None:
    source = tmp_path / "bad.jsonl"
    source.write_text('{"prompt": "a"}\n{"promt": "b"}\n\n{\n{"prompt": "c", "custom_id": ""}\n')

    done = sluice(service.url, "run", source, "-o", tmp_path / "out.jsonl")

    assert done.returncode == 2
    assert [f"line {n}:" in done.stderr for n in range(1, 6)] == [False, True, False, True, True]
    assert "3 lines are invalid; nothing was sent" in done.stderr
    assert not service.seen
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize("content", ["", "\n\n"], ids=["empty", "blank"])
def test_a_file_without_prompts_is_reported(service: Service, tmp_path: Path, content: str) -> None:
    (tmp_path / "empty.jsonl").write_text(content)

    assert sluice(service.url, "run", tmp_path / "empty.jsonl").returncode == 2


def test_check_validates_the_file_and_sends_nothing(service: Service, source: Path) -> None:
    done = sluice(service.url, "run", source, "--check")

    assert (done.returncode, done.stdout, service.seen) == (0, "", [])
    assert "60 prompts" in done.stderr


def test_errors_of_the_service_are_reported_by_line(service: Service, source: Path, tmp_path: Path) -> None:
    fault = {"pointer": "/prompts/2/params/temperature", "code": "invalid_value", "detail": "at most 2"}
    service.fail(400, lambda seen: seen.method == "POST", body=problem(400, "invalid_value", errors=[fault]))

    done = sluice(service.url, "run", source, "-o", tmp_path / "out.jsonl")

    assert done.returncode == 4
    assert "line 3: params/temperature: at most 2 (invalid_value)" in done.stderr


@pytest.mark.parametrize(
    ("url", "key", "code", "word"),
    [
        ("", "wrong-key", 4, "SLUICE_API_KEY"),
        ("http://127.0.0.1:1", "some-key", 3, "SLUICE_URL"),
        ("ftp://example.org", "some-key", 2, "service URL"),
    ],
    ids=["wrong key", "unreachable", "invalid URL"],
)
def test_an_unavailable_service_is_reported_and_no_files_are_created(
    service: Service, source: Path, tmp_path: Path, *, url: str, key: str, code: int, word: str
) -> None:
    done = sluice(url or service.url, "run", source, "-o", tmp_path / "out.jsonl", key=key)

    assert done.returncode == code
    assert word in done.stderr
    assert not list(tmp_path.glob("out*"))


def test_prompts_without_a_result_are_written_with_their_error_and_change_the_exit_code(
    service: Service, source: Path, tmp_path: Path
) -> None:
    service.outcomes["prompt 3"] = {"status": "failed", "error": {"code": "content_policy", "detail": "Refused."}}

    done = sluice(service.url, "run", source, "-o", tmp_path / "out.jsonl")

    assert done.returncode == 1
    assert "59 completed, 1 without a result" in done.stderr
    assert lines(tmp_path / "out.jsonl")[3]["error"]["code"] == "content_policy"


def test_results_can_have_the_format_of_the_batch_api(service: Service, tmp_path: Path) -> None:
    source, output = tmp_path / "batch.jsonl", tmp_path / "out.jsonl"
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    request = {"custom_id": "r-1", "method": "POST", "url": "/v1/chat/completions", "body": body}
    other = request | {"custom_id": "r-2", "body": {"model": "m", "messages": [{"role": "user", "content": "No"}]}}
    source.write_text(f"{json.dumps(request)}\n{json.dumps(other)}\n")
    service.outcomes["No"] = {"status": "failed", "error": {"code": "content_policy", "detail": "Refused."}}

    sluice(service.url, "run", source, "-o", output, "--shape", "openai")

    good, bad = lines(output)
    assert good["custom_id"] == "r-1"
    assert good["response"]["status_code"] == 200
    assert good["response"]["body"]["choices"][0]["message"]["content"] == "Re: Hi"
    assert (good["error"], bad["response"]) == (None, None)
    assert bad["error"] == {"code": "content_policy", "message": "Refused."}


def test_csv_input_gives_csv_output(service: Service, tmp_path: Path) -> None:
    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text('name,note,status\n"Lamp, small","two\nlines",old\nChair,,new\n')

    done = sluice(service.url, "run", source, "-o", output, "-t", "Describe {name}.")

    assert done.returncode == 0, done.stderr
    with output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["result"] for row in rows] == ["Re: Describe Lamp, small.", "Re: Describe Chair."]
    assert [(row["note"], row["status"], row["sluice_status"]) for row in rows] == [
        ("two\nlines", "old", "completed"),
        ("", "new", "completed"),
    ]


def test_prompts_are_read_from_a_pipe_and_results_written_to_one(service: Service) -> None:
    done = sluice(service.url, "run", "-", "--shape", "text", stdin="one\ntwo\n")

    assert (done.returncode, done.stdout) == (0, "Re: one\nRe: two\n")


def test_the_format_of_a_pipe_is_detected(service: Service) -> None:
    done = sluice(service.url, "run", "-", "--shape", "text", stdin='{"prompt": "one"}\n"two"\n')

    assert (done.returncode, done.stdout) == (0, "Re: one\nRe: two\n")


def test_a_closed_output_pipe_ends_the_run_without_an_error(service: Service, source: Path) -> None:
    service.pace = 1
    command = [*SLUICE, "run", str(source)]
    with subprocess.Popen(
        command, env=environment(service.url), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        run.stdout.readline()
        run.stdout.close()
        told = run.stderr.read()

    assert run.wait(SECONDS) == 141
    assert "Traceback" not in told
    assert "BrokenPipe" not in told


def test_a_full_disk_is_reported_and_no_result_is_lost(service: Service, source: Path) -> None:
    done = sluice(service.url, "run", source, "-o", "/dev/full")

    assert done.returncode == 5
    assert "no space left" in done.stderr


def test_a_file_that_is_not_a_results_file_is_not_changed(service: Service, source: Path, tmp_path: Path) -> None:
    output = tmp_path / "mine.jsonl"
    output.write_text("mine\n")

    refused = sluice(service.url, "run", source, "-o", output)

    assert (refused.returncode, output.read_text()) == (2, "mine\n")
    assert [path.name for path in tmp_path.glob("mine*")] == ["mine.jsonl"]
    assert sluice(service.url, "run", source, "-o", output, "--overwrite").returncode == 0
    assert len(lines(output)) == 60


def test_another_file_or_other_options_do_not_resume_a_run(service: Service, source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    sluice(service.url, "run", source, "-o", output)

    model = sluice(service.url, "run", source, "-o", output, "-m", "other")
    with source.open("a") as file:
        file.write('{"prompt": "prompt 60"}\n')
    longer = sluice(service.url, "run", source, "-o", output)

    assert (model.returncode, longer.returncode) == (2, 2)
    assert "the options (template" in model.stderr
    assert "the input file" in longer.stderr


def test_only_the_new_prompts_of_a_longer_file_are_submitted(service: Service, source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    sluice(service.url, "run", source, "-o", output, "--chunk-size", "20")
    with source.open("a") as file:
        file.write('{"prompt": "prompt 60"}\n')

    done = sluice(service.url, "run", source, "-o", output, "--overwrite", "--chunk-size", "20")

    assert done.returncode == 0, done.stderr
    assert len(lines(output)) == 61
    assert service.asked == [f"prompt {n}" for n in range(61)]


@pytest.mark.parametrize("name", ["prompts.json", "prompts", "-"])
def test_a_json_array_is_refused_with_the_command_that_converts_it(service: Service, tmp_path: Path, name: str) -> None:
    content = '[\n  "A joke about plants",\n  "A joke about food"\n]\n'
    (tmp_path / name).write_text(content)

    done = sluice(service.url, "run", name if name == "-" else tmp_path / name, stdin=content)

    assert (done.returncode, service.seen) == (2, [])
    assert "JSON array" in done.stderr
    assert "jq -c" in done.stderr


@pytest.mark.parametrize(
    "option", ["temperature=1e999", "temperature=NaN", "temperature=-Infinity", 'logit_bias={"1": 1e999}']
)
def test_a_param_that_is_no_json_number_is_refused_at_check(service: Service, source: Path, option: str) -> None:
    done = sluice(service.url, "run", source, "--check", "-p", option)

    assert done.returncode == 2
    assert "not a number in JSON" in done.stderr


@pytest.mark.parametrize("option", ["-s", "-m", "-t", "-p", "--metadata"])
def test_an_option_that_is_not_utf8_is_refused_without_a_traceback(service: Service, source: Path, option: str) -> None:
    done = sluice(service.url, "run", source, "--check", option, "a={a}\udcff")

    assert done.returncode == 2
    assert "not UTF-8" in done.stderr


def test_text_results_have_one_line_for_each_prompt_whatever_breaks_the_answer(
    service: Service, tmp_path: Path
) -> None:
    breaks = ["\n", "\r\n", "\r", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029"]
    source, output = tmp_path / "in.txt", tmp_path / "out.txt"
    source.write_text("".join(f"p{n}\n" for n in range(len(breaks))))
    for n, sign in enumerate(breaks):
        service.outcomes[f"p{n}"] = {"status": "completed", "result": f"a{sign}b{sign}"}

    sluice(service.url, "run", source, "-o", output)

    assert output.read_text(encoding="utf-8").splitlines() == ["a b"] * len(breaks)


@pytest.mark.parametrize("to", ["file", "pipe"])
def test_a_run_that_is_refused_half_way_names_the_batches_under_way(
    service: Service, source: Path, tmp_path: Path, to: str
) -> None:
    # GIVEN a service that accepts two calls of three and then has no budget; no task ends
    service.pace = 0
    refusal = problem(403, "model_not_allowed")
    service.fail(403, lambda seen: seen.method == "POST" and "prompt 40" in str(seen.body), body=refusal)
    output = tmp_path / "out.jsonl"
    options: list[str | Path] = ["-o", output] if to == "file" else []

    done = sluice(service.url, "run", source, "--chunk-size", "20", *options)

    assert done.returncode == 4
    assert "40 tasks are under way, in b0, b1." in done.stderr
    assert f"sluice cancel {output if to == 'file' else 'BATCH'}" in done.stderr


def test_an_interrupted_run_names_the_batches_under_way(service: Service, source: Path, tmp_path: Path) -> None:
    polled = threading.Event()
    answer = service.answer

    def watching(seen: Seen) -> tuple[int, dict[str, str], Any]:
        # The client polls after it has read the IDs.
        if "b0-0" in str(seen.query):
            polled.set()
        return answer(seen)

    service.answer, service.pace = watching, 0  # type: ignore[method-assign]
    with started(service.url, "run", source, "-o", tmp_path / "out.jsonl") as run:
        assert polled.wait(SECONDS)
        run.send_signal(signal.SIGINT)
        _, told = run.communicate(timeout=SECONDS)

    assert run.returncode == 130
    assert "60 tasks are under way, in b0" in told


def test_a_webhook_is_part_of_each_call(service: Service, source: Path, tmp_path: Path) -> None:
    url = "https://example.org/ended"

    done = sluice(service.url, "run", source, "-o", tmp_path / "out.jsonl", "--chunk-size", "30", "--webhook", url)

    assert done.returncode == 0, done.stderr
    assert [seen.body["webhook"] for seen in service.posts()] == [{"url": url}] * 2


def test_a_check_estimates_tokens_and_cost(service: Service, tmp_path: Path) -> None:
    # GIVEN 1,000 prompts of about 100 tokens, half of them with a limit of the answer
    source = tmp_path / "in.jsonl"
    limits: list[dict[str, object]] = [{}, {"params": {"max_tokens": 100}}]
    prompts = [{"prompt": "word" * 99, **limits[n % 2]} for n in range(1_000)]
    source.write_text("".join(json.dumps(prompt) + "\n" for prompt in prompts))

    done = sluice(service.url, "run", source, "--check", "--json", "--price", "0.25:2.00")
    text = sluice(service.url, "run", source, "--check")

    totals = json.loads(done.stdout)
    assert totals == {"prompts": 1_000, "input_tokens": 100_000, "output_tokens": 178_000, "usd": "0.381"}
    assert "about 100,000 input tokens and 178,000 output tokens; add --price" in text.stderr
    assert not service.seen


@pytest.mark.parametrize("price", ["1", "a:b", "1:-2", "NaN:1", "1:2:3"])
def test_an_invalid_price_is_refused(service: Service, source: Path, price: str) -> None:
    assert sluice(service.url, "run", source, "--check", "--price", price).returncode == 2
