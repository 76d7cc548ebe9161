"""Files of prompts: how each kind is read, and what is said of each line that is none."""

import io
import json
from typing import Any

import pytest

from common.domain.errors import InvalidRequest
from common.kinds.chat.validation import RESERVED_PARAMS as OF_THE_API
from common.kinds.chat.validation import check_messages
from functions.submit.schema import PromptBody
from sluice._cli.file_check import check_file
from sluice._cli.input_file import BadLine, Format, InputFile, InputRecord, detect_format, is_json_array
from sluice._cli.line_reader import MAX_LINE_BYTES, READ_BYTES
from sluice._cli.prompt_parser import FIELDS, MAX_PROMPT_BYTES, RESERVED_PARAMS
from sluice._cli.template import BadTemplateError, Template


def read(content: bytes | str, form: Format = Format.JSONL, template: str | None = None) -> list[InputRecord | BadLine]:
    data = content if isinstance(content, bytes) else content.encode()
    return list(InputFile(io.BytesIO(data), form, Template.of(template) if template else None).read())


def prompts(found: list[InputRecord | BadLine]) -> list[tuple[int, Any]]:
    return [(each.line, each.prompt if isinstance(each, InputRecord) else each.reason) for each in found]


def test_the_client_knows_the_same_prompt_fields_as_the_service() -> None:
    assert set(PromptBody.__struct_fields__) == FIELDS
    assert set(OF_THE_API) == RESERVED_PARAMS


def test_a_byte_order_mark_carriage_returns_blank_lines_and_a_last_line_without_an_end_are_all_right() -> None:
    content = b'\xef\xbb\xbf{"prompt": "a"}\r\n\r\n"plain"\n   \n{"messages": [{"role": "user", "content": "c"}]}'

    assert prompts(read(content)) == [
        (1, {"prompt": "a"}),
        (3, {"prompt": "plain"}),
        (5, {"messages": [{"role": "user", "content": "c"}]}),
    ]


def test_a_request_of_the_batch_api_is_taken_as_it_is() -> None:
    body = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9, "n": 1}
    line = json.dumps({"custom_id": "r-1", "method": "POST", "url": "/v1/chat/completions", "body": body})

    assert prompts(read(line)) == [
        (1, {"custom_id": "r-1", "model": "gpt-5-mini", "messages": body["messages"], "params": {"max_tokens": 9}})
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not valid JSON"),
        ("[1]", "string or an object"),
        ('{"promt": "x"}', "did you mean 'prompt'"),
        ('{"prompt": "x", "messages": []}', "either prompt or messages"),
        ("{}", "either prompt or messages"),
        ('{"prompt": " "}', "blank"),
        ('{"prompt": 7}', "blank or not a string"),
        ('""', "blank"),
        ('{"messages": []}', "messages"),
        ('{"messages": [{"content": "x"}]}', "role"),
        ('{"prompt": "x", "custom_id": ""}', "custom_id"),
        ('{"prompt": "x", "custom_id": 7}', "custom_id"),
        ('{"prompt": "x", "params": []}', "params"),
        ('{"prompt": "x", "params": {"stream": true}}', "stream"),
        ('{"prompt": NaN}', "NaN"),
        ('{"prompt": "x", "params": {"temperature": 1e999}}', "too large"),
        ('{"prompt": "x", "params": {"logit_bias": {"1": [-1e999]}}}', "too large"),
        ('{"prompt": "x", "params": {"temperature": Infinity}}', "Infinity"),
        ('{"messages": [{"role": "robot", "content": "x"}]}', "role is not one of"),
        ('{"messages": [{"role": "user", "content": " "}]}', "blank"),
        ('{"system": "s", "messages": [{"role": "system", "content": "x"}]}', "beside messages"),
        ('{"prompt": "x", "prompt": "y"}', "twice: prompt"),
        ('{"prompt": "\\ud800"}', "surrogate"),
        ("[" * 100_000, "deep"),
        ('{"expected_tokens": ' + "9" * 6_000 + "}", "digits"),
        ('{"custom_id": "r", "url": "/v1/embeddings", "body": {}}', "/v1/chat/completions"),
        ('{"custom_id": "r", "method": "GET", "body": {}}', "/v1/chat/completions"),
        ('{"custom_id": "r", "method": "POST", "url": "/v1/chat/completions"}', "without a body"),
        (
            '{"custom_id": "r", "body": {"messages": [{"role": "user", "content": "x"}], "n": 2}}',
            "params that Sluice does not accept: n",
        ),
    ],
)
def test_a_bad_line_is_reported_with_its_reason_and_the_others_are_read(line: str, reason: str) -> None:
    first, bad, last = read(f'"before"\n{line}\n"after"\n')

    assert isinstance(first, InputRecord)
    assert isinstance(last, InputRecord)
    assert isinstance(bad, BadLine)
    assert bad.line == 2
    assert reason in bad.reason


def test_a_line_that_is_not_utf8_is_reported_and_the_others_are_read() -> None:
    found = read(b'"a"\n"\xff"\n"b"\n')

    assert [type(each) for each in found] == [InputRecord, BadLine, InputRecord]


def test_a_utf16_file_is_reported_as_such() -> None:
    [bad] = read('"a"\n'.encode("utf-16"))

    assert isinstance(bad, BadLine)
    assert "UTF-16" in bad.reason


def test_a_line_without_an_end_is_not_read_into_memory() -> None:
    class Endless(io.RawIOBase):
        """Gives a line of 40 MB, and tells how much was asked for at a time."""

        left = 40_000_000
        most = 0

        def readable(self) -> bool:
            return True

        def seek(self, *_: int) -> int:
            return 0

        def readline(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            assert size > 0
            self.most = max(self.most, size)
            piece = b"x" * min(size, self.left)
            self.left -= len(piece)
            return piece

    file = Endless()
    found = list(InputFile(file, Format.JSONL, None).read())  # type: ignore[arg-type]

    assert prompts(found) == [(1, f"is longer than {MAX_LINE_BYTES:,} bytes")]
    assert file.most <= MAX_LINE_BYTES


def test_rows_of_csv_fill_a_template_and_keep_their_cells() -> None:
    content = 'custom_id,name,note\r\na,"Lamp, small","two\nlines"\r\n\r\nb,Chair,\r\n'

    found = read(content, Format.CSV, "Describe {name}.")

    assert prompts(found) == [
        (2, {"prompt": "Describe Lamp, small.", "custom_id": "a"}),
        (5, {"prompt": "Describe Chair.", "custom_id": "b"}),
    ]
    assert isinstance(found[0], InputRecord)
    assert found[0].row == {"custom_id": "a", "name": "Lamp, small", "note": "two\nlines"}


@pytest.mark.parametrize(
    ("content", "template", "line", "reason"),
    [
        ("name\nx\n", None, 1, "no column 'prompt'"),
        ("name\nx\n", "{nam}", 1, "no column nam"),
        ("a,a\n1,2\n", "{a}", 1, "a column twice: a"),
        ("name,b\nx\n", "{name}", 2, "1 cells"),
        ('name\n"x\ny\n', "{name}", 2, "not valid CSV"),
        ("prompt\n \nok\n", None, 0, ""),
    ],
)
def test_invalid_csv_is_reported_with_its_line(content: str, template: str | None, line: int, reason: str) -> None:
    bad = [each for each in read(content, Format.CSV, template) if isinstance(each, BadLine)]

    assert [each.line for each in bad] == ([line] if line else [])
    assert all(reason in each.reason for each in bad)


def test_fields_of_json_lines_fill_a_template_too_and_so_do_plain_lines() -> None:
    assert prompts(read('{"a": "x", "n": 2}\n', template="{a}: {n} {{}}")) == [(1, {"prompt": "x: 2 {}"})]
    assert prompts(read("x\n", Format.LINES, "Translate: {prompt}")) == [(1, {"prompt": "Translate: x"})]


@pytest.mark.parametrize("text", ["no variable", "{", "{0}", "{a.b}", "{a!r}", "{a:>9}", "{}"])
def test_a_template_has_names_in_its_braces_and_nothing_else(text: str) -> None:
    with pytest.raises(BadTemplateError):
        Template.of(text)


@pytest.mark.parametrize(
    ("path", "start", "form"),
    [
        ("a.jsonl", b"x", "jsonl"),
        ("a.CSV", b"{", "csv"),
        ("a.tsv", b"", "tsv"),
        ("a.txt", b"{", "lines"),
        ("-", b'\xef\xbb\xbf {"', "jsonl"),
        ("-", b'"x"', "jsonl"),
        ("-", b"Hello", "lines"),
    ],
)
def test_the_format_is_detected_by_extension_or_first_bytes(path: str, start: bytes, form: str) -> None:
    assert detect_format(path, start) == form


def test_a_repeated_custom_id_is_reported_with_both_lines_and_a_large_prompt_with_its_size() -> None:
    lines = ['{"prompt": "a", "custom_id": "x"}', '{"prompt": "b"}', '{"prompt": "c", "custom_id": "x"}']
    lines.append(json.dumps({"prompt": "x" * MAX_PROMPT_BYTES}))
    bad: list[BadLine] = []

    checked = check_file(
        InputFile(io.BytesIO("\n".join(lines).encode()), Format.JSONL, None), {}, bad.append, lambda _: None
    )

    assert (checked.total, checked.bad) == (2, 2)
    assert [each.line for each in bad] == [3, 4]
    assert "line 1" in bad[0].reason
    assert "262,144" in bad[1].reason


def test_the_digest_is_of_the_whole_file() -> None:
    def digest(content: bytes) -> str:
        source = InputFile(io.BytesIO(content), Format.LINES, None)
        return check_file(source, {}, lambda _: None, lambda _: None).digest

    assert digest(b"a\nb\n") == digest(b"a\nb\n") != digest(b"a\nb")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CR LF", "CR"])
def test_lines_end_as_on_any_system(end: str) -> None:
    assert prompts(read(end.join(["one", "", "three", ""]), Format.LINES)) == [
        (1, {"prompt": "one"}),
        (3, {"prompt": "three"}),
    ]
    assert prompts(read(end.join(['{"prompt": "one"}', '"two"']))) == [(1, {"prompt": "one"}), (2, {"prompt": "two"})]
    table = end.join(["prompt,custom_id", "One,a", f'"Two{end}lines",b', ""])
    assert prompts(read(table, Format.CSV)) == [
        (2, {"prompt": "One", "custom_id": "a"}),
        (3, {"prompt": f"Two{end}lines", "custom_id": "b"}),
    ]


@pytest.mark.parametrize("before", range(READ_BYTES - 3, READ_BYTES + 3))
def test_a_line_break_between_two_reads_is_one_line_break(before: int) -> None:
    found = prompts(read("a" * before + "\r\nb\rc", Format.LINES))

    assert [(number, len(each["prompt"])) for number, each in found] == [(1, before), (2, 1), (3, 1)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CR LF", "CR"])
@pytest.mark.parametrize("excess", [-2, 1, 2, READ_BYTES])
def test_a_line_that_is_too_long_is_one_bad_line_and_the_others_are_read(end: bytes, excess: int) -> None:
    found = read(b"x" * (MAX_LINE_BYTES + excess) + end + b"y" + end, Format.LINES)

    assert isinstance(found[0], InputRecord if excess < 0 else BadLine)
    assert [each.line for each in found] == [1, 2]
    assert prompts(found[1:]) == [(2, {"prompt": "y"})]


@pytest.mark.parametrize(
    ("path", "start", "refused"),
    [
        ("a.json", b'[\n  "A joke"\n]', True),
        ("a.json", b'\xef\xbb\xbf [{"prompt": "x"}]', True),
        ("a.JSON", b"[1]", True),
        ("a.json", b'{"prompt": "x"}\n{"prompt": "y"}', False),
        ("-", b'["A joke", "Another"]', True),
        ("prompts", b'[\n{"prompt": "x"}]', True),
        ("a.dat", b"[[1]]", True),
        ("-", b"[Formal] Write a letter", False),
        ("notes.md", b"[1] is a footnote", False),
        ("a.txt", b'["A joke"]', False),
        ("a.jsonl", b'["A joke"]', False),
    ],
)
def test_a_json_array_is_recognised_and_text_in_brackets_is_text(path: str, start: bytes, refused: bool) -> None:  # noqa: FBT001
    assert is_json_array(path, start) is refused


def batch_line(body: dict[str, Any], **fields: Any) -> str:
    request = {"custom_id": "r", "method": "POST", "url": "/v1/chat/completions", "body": body}
    return json.dumps(request | fields)


MESSAGES = [{"role": "user", "content": "hi"}]


def test_a_null_in_a_batch_line_is_the_same_as_a_missing_field() -> None:
    body = {"model": "m", "messages": MESSAGES, "temperature": 0.5}
    nulls = dict.fromkeys([*RESERVED_PARAMS - {"model", "messages"}, "max_tokens", "tools", "stop", "metadata"])

    assert prompts(read(batch_line(nulls | body))) == prompts(read(batch_line(body)))
    assert prompts(read(batch_line(body, url=None, method=None))) == prompts(read(batch_line(body)))


@pytest.mark.parametrize("url", ["/v1/chat/completions", "/chat/completions"], ids=["OpenAI", "Azure"])
def test_the_urls_of_both_batch_apis_are_accepted(url: str) -> None:
    assert prompts(read(batch_line({"messages": MESSAGES}, url=url))) == [(1, {"custom_id": "r", "messages": MESSAGES})]


CONTENTS: list[Any] = [None, "", " ", "x", 7, [], ["x"], [{"type": "text", "text": "x"}], {}]


@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant", "tool", "robot", None, 7])
@pytest.mark.parametrize("more", [{}, {"tool_calls": [{"id": "t"}]}, {"tool_call_id": "t"}], ids=str)
def test_a_check_gives_the_same_answer_as_the_service(role: Any, more: dict[str, Any]) -> None:
    for content in CONTENTS:
        message = {"role": role, "content": content, **more}
        try:
            check_messages([message], "/prompts/0/messages")
            accepted = True
        except InvalidRequest:
            accepted = False
        [found] = read(json.dumps({"messages": [message]}))

        assert isinstance(found, InputRecord) is accepted, message


def test_blanks_around_a_header_are_not_part_of_the_name() -> None:
    content = "prompt, custom_id ,\ufeffmodel\nFirst,a,m\n"

    assert prompts(read(content, Format.CSV)) == [(2, {"prompt": "First", "custom_id": "a", "model": "m"})]


@pytest.mark.parametrize("name", ["Custom ID", "customid", "CUSTOM_ID", "custom-id", "Model", "System"])
def test_a_header_that_is_almost_a_field_is_reported_instead_of_ignored(name: str) -> None:
    [bad] = read(f"prompt,{name}\nFirst,a\n", Format.CSV)

    assert isinstance(bad, BadLine)
    assert "did you mean" in bad.reason


def test_other_columns_are_for_templates() -> None:
    assert prompts(read("prompt,note\nFirst,x\n", Format.CSV)) == [(2, {"prompt": "First"})]
