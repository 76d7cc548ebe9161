"""Test that a refusal of the model is in every format of the results."""

import csv
import io
import json
from typing import Final

from sluice import Task
from sluice._cli.input_file import InputRecord
from sluice._cli.result_formats import ResultFormat, make_writer

REFUSED: Final = Task.of({"task_id": "b-0", "status": "completed", "result": "", "refusal": "I cannot\nhelp"})
RECORD: Final = InputRecord(1, {"prompt": "A joke about plants"})


def test_a_refusal_is_in_every_format() -> None:
    line, openai, cells, text = (make_writer(shape, ())(RECORD, REFUSED) for shape in ResultFormat)

    assert json.loads(line)["refusal"] == "I cannot\nhelp"
    [choice] = json.loads(openai)["response"]["body"]["choices"]
    assert choice["message"] == {"role": "assistant", "content": None, "refusal": "I cannot\nhelp"}
    assert text == "I cannot help\n"
    assert "I cannot\nhelp" in next(csv.reader(io.StringIO(cells)))
