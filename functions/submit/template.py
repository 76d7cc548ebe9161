"""Fill a template with inputs: `{name}` is a variable, `{{` and `}}` are braces."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Formatter
from typing import Any, Final

from common.api.json_body import pointer_to
from common.domain.errors import InvalidRequest, RequestTooLarge

CUSTOM_ID: Final = "custom_id"
"""The input that the template may omit: it names the task."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class Template:
    """Hold a template as pairs of a text and the variable after it, which the last pair may lack."""

    parts: tuple[tuple[str, str | None], ...] = field(repr=False)

    @property
    def variables(self) -> frozenset[str]:
        """Name the variables."""
        return frozenset(name for _, name in self.parts if name is not None)

    def fill(self, values: Mapping[str, Any], place: str, *, most: int) -> str:
        """Return the text with the values in their places; `place` is the JSON pointer of the values.

        Raises:
            InvalidRequest: a variable is missing, is not used, or is neither text nor a number.
            RequestTooLarge: the text would have more than `most` characters.

        """
        for name in sorted(self.variables - values.keys()):
            raise InvalidRequest("is missing; the template uses it", pointer=f"{place}/{name}", code="missing_variable")
        for name in sorted(values.keys() - self.variables - {CUSTOM_ID}):
            raise InvalidRequest("is not used in the template", pointer=pointer_to(place, name), code="unused_variable")
        # Exactly these types: True is an int too, and would read "True".
        for name in sorted(self.variables):
            if type(values[name]) not in {str, int, float}:
                raise InvalidRequest("must be text or a number", pointer=f"{place}/{name}", code="invalid_value")
        texts = [part for text, name in self.parts for part in (text, "" if name is None else str(values[name]))]
        # Before they are joined: a short body can ask for more than our memory has room for.
        if (size := sum(map(len, texts))) > most:
            raise RequestTooLarge(
                f"makes a prompt of {size} characters; a prompt may take {most} bytes",
                pointer=place,
                code="prompt_too_large",
            )
        return "".join(texts)


def read_template(text: str) -> Template:
    """Read a template.

    Raises:
        InvalidRequest: it has no variable, a brace without its other half, or more in its braces than a name: what
            str.format would do there (attributes, indices, conversions, formats) is no business of a caller's.

    """
    try:
        fields = list(Formatter().parse(text))
    except ValueError:
        # `from None`: the error may quote the template.
        raise _refused("has an unbalanced brace; write {{ and }} for literal braces") from None
    for _, name, form, conversion in fields:
        if name is not None and (_NAME.fullmatch(name) is None or form or conversion):
            raise _refused("must have only names in braces: up to 64 letters, digits and _, not starting with a digit")
    template = Template(tuple((literal, name) for literal, name, _, _ in fields))
    if not template.variables:
        raise _refused("must have a variable, such as {topic}")
    return template


def _refused(rule: str) -> InvalidRequest:
    return InvalidRequest(rule, pointer="/template", code="invalid_template")
