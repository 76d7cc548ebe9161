"""Fill in a template, by the rules of the API: `{name}` is a variable, `{{` and `}}` are braces."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any, Final

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


class BadTemplateError(ValueError):
    """The template breaks a rule."""


@dataclass(frozen=True, slots=True)
class Template:
    """A template as pairs of a text and the variable after it, which the last pair may lack."""

    parts: tuple[tuple[str, str | None], ...]

    @classmethod
    def of(cls, text: str) -> "Template":
        """Read a template; raises BadTemplateError."""
        try:
            fields = list(Formatter().parse(text))
        except ValueError:
            raise BadTemplateError("has a brace without its other half; write {{ and }} for braces") from None
        for _, name, form, conversion in fields:
            if name is not None and (_NAME.fullmatch(name) is None or form or conversion):
                raise BadTemplateError(f"may have nothing but a name in its braces, not {{{name}}}")
        template = cls(tuple((literal, name) for literal, name, _, _ in fields))
        if not template.variables:
            raise BadTemplateError("has no variable, such as {name}")
        return template

    @property
    def variables(self) -> frozenset[str]:
        """Name the variables."""
        return frozenset(name for _, name in self.parts if name is not None)

    def fill(self, values: Mapping[str, Any]) -> str:
        """Put the values in their places; raises BadTemplateError for one that is missing or is no text or number."""
        missing = sorted(name for name in self.variables if type(values.get(name)) not in {str, int, float})
        if missing:
            raise BadTemplateError(f"has no text or number for {', '.join(missing)}, which the template uses")
        return "".join(text if name is None else f"{text}{values[name]}" for text, name in self.parts)
