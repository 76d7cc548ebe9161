"""Parse JSON as the API does: what Python accepts beyond the standard is an error."""

import json
from math import isfinite
from typing import Any, NoReturn

from sluice._cli.prompt_parser import BadPromptError


def strict_json(text: str) -> Any:  # noqa: ANN401 - JSON
    """Return the value of a JSON text.

    Raises:
        BadPromptError: it is not valid JSON, has a field twice, or a number or character that can't be sent.

    """
    try:
        value = json.loads(
            text, parse_constant=_reject_constant, parse_float=_finite, object_pairs_hook=_reject_repeated_fields
        )
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise BadPromptError("is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise BadPromptError(f"is not valid JSON: {error.msg} at character {error.pos + 1}") from None
    except UnicodeEncodeError:
        raise BadPromptError("contains a lone surrogate (half a character)") from None
    except BadPromptError:
        raise
    except ValueError:
        raise BadPromptError("has a number with too many digits") from None
    return value


def _reject_constant(name: str) -> NoReturn:
    raise BadPromptError(f"is not valid JSON: {name} is not a number in JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise BadPromptError("has a number that is too large")
    return number


def _reject_repeated_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        raise BadPromptError(f"has a field twice: {next(name for name in names if names.count(name) > 1)}")
    return fields
