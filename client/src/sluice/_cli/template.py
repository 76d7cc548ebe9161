"""Fill in templates by the rules of the API: `{name}` is a variable, `{{` and `}}` are literal braces."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any, Final

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


class BadTemplateError(ValueError):
    """The template is invalid, or a value is missing."""


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template: pairs of literal text and the variable after it, or None."""

    parts: tuple[tuple[str, str | None], ...]

    @classmethod
    def of(cls, text: str) -> "Template":
        """Parse a template; raises BadTemplateError."""
        try:
            fields = list(Formatter().parse(text))
        except ValueError:
            raise BadTemplateError("has an unmatched brace; write {{ and }} for literal braces") from None
        for _, name, form, conversion in fields:
            if name is not None and (_NAME.fullmatch(name) is None or form or conversion):
                raise BadTemplateError(f"has {{{name}}}; only a variable name is allowed in braces")
        template = cls(tuple((literal, name) for literal, name, _, _ in fields))
        if not template.variables:
            raise BadTemplateError("has no variable, such as {name}")
        return template

    @property
    def variables(self) -> frozenset[str]:
        """Return the names of the variables."""
        return frozenset(name for _, name in self.parts if name is not None)

    def fill(self, values: Mapping[str, Any]) -> str:
        """Insert the values; raises BadTemplateError if one is missing or is neither a string nor a number."""
        missing = sorted(name for name in self.variables if type(values.get(name)) not in {str, int, float})
        if missing:
            raise BadTemplateError(f"has no string or number for {', '.join(missing)}, which the template uses")
        return "".join(text if name is None else f"{text}{values[name]}" for text, name in self.parts)
