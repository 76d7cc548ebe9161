"""Check commands of the documents without running them: their program, its target or operation, and its options."""

import functools
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator

import botocore.session
from botocore import xform_name
from botocore.exceptions import UnknownServiceError
from botocore.model import ServiceModel

from tests.infra.stack import ROOT

OF_THE_AWS_CLI = frozenset({"--query", "--output", "--region", "--profile", "--no-cli-pager", "--cli-input-json"})
"""Options that every one of its operations takes."""

ELSEWHERE = {"git": {"fetch", "checkout"}}
"""Programs that are not ours to look into, and what we use of them."""

BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
ARITHMETIC = re.compile(r"\$\(\([^)]*\)[^)]*\)\)|\$\(\([^()]*\)\)")
INNER = re.compile(r"\$\(([^()]*)\)")
ASSIGNMENT = re.compile(r"[A-Z_]+=.*")


def commands_in(document: str) -> Iterator[list[str]]:
    """Yield each command of a document's shell blocks as its words; one inside of another comes before it."""
    for block in BLOCK.findall(document):
        for line in block.replace("\\\n", " ").splitlines():
            yield from _commands(line)


def _commands(line: str) -> Iterator[list[str]]:
    line = ARITHMETIC.sub("0", line)
    for inner in INNER.findall(line):
        yield from _commands(inner)
    words = shlex.split(INNER.sub("VALUE", line), comments=True)
    while words and ASSIGNMENT.fullmatch(words[0]):
        words.pop(0)
    if ">" in words:
        words = words[: words.index(">")]
    if words:
        yield words


def complaints(words: list[str]) -> Iterator[str]:
    """Yield what is wrong with a command."""
    program, *rest = words
    if program in ELSEWHERE:
        if rest[0] not in ELSEWHERE[program]:
            yield f"{program} {rest[0]} is not among what is used of it"
    elif program in CHECKS:
        yield from CHECKS[program](rest)
    else:
        yield f"{program}: nobody knows this program"


def _make(words: list[str]) -> Iterator[str]:
    makefile = (ROOT / "Makefile").read_text()
    for word in words:
        name, is_setting, _ = word.partition("=")
        if is_setting and not re.search(rf"\b{name} \?=|\$\((?:if \$\()?{name}\b", makefile):
            yield f"make: nothing reads {name}"
        if not is_setting and not re.search(rf"^{re.escape(word)}:", makefile, re.MULTILINE):
            yield f"make: no target {word}"


def _sam(words: list[str]) -> Iterator[str]:
    names = [word for word in words if not word.startswith("-")]
    subcommand = names[:2] if names[0] in {"list", "local"} else names[:1]
    text = _help((str(ROOT / ".venv-sam/bin/sam"), *subcommand, "--help"))
    if text is None:
        yield f"sam: no subcommand {' '.join(subcommand)}"
        return
    for option in _options(words):
        if not re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", text):
            yield f"sam {' '.join(subcommand)}: no option {option}"


def _python(words: list[str]) -> Iterator[str]:
    if words[0] != "-m":
        yield "python: only modules of ours are run"
        return
    text = _help((str(ROOT / ".venv/bin/python"), "-m", words[1], "--help"))
    if text is None:
        yield f"python: no module {words[1]}"
        return
    for option in _options(words[2:]):
        if option not in text:
            yield f"{words[1]}: no option {option}"


def _aws(words: list[str]) -> Iterator[str]:
    service, operation, *rest = words
    try:
        model = _service(service)
    except UnknownServiceError:
        yield f"aws: no service {service}"
        return
    names = {xform_name(name, "-"): name for name in model.operation_names}
    if operation not in names:
        yield f"aws {service}: no operation {operation}"
        return
    shape = model.operation_model(names[operation]).input_shape
    members = {} if shape is None else {xform_name(name, "-"): member for name, member in shape.members.items()}
    known = {f"--{name}" for name in members} | OF_THE_AWS_CLI
    known |= {f"--no-{name}" for name, member in members.items() if member.type_name == "boolean"}
    given = list(_options(rest))
    for option in given:
        if option not in known:
            yield f"aws {service} {operation}: no option {option}"
    for name in () if shape is None else shape.required_members:
        if f"--{xform_name(name, '-')}" not in given:
            yield f"aws {service} {operation}: needs --{xform_name(name, '-')}"


@functools.cache
def _service(name: str) -> ServiceModel:
    """Load the description of a service once: a session reads it from disk again for each command."""
    return botocore.session.get_session().get_service_model(name)


def _options(words: list[str]) -> Iterator[str]:
    return (word.partition("=")[0] for word in words if word.startswith("--"))


@functools.cache
def _help(command: tuple[str, ...]) -> str | None:
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env={"SAM_CLI_TELEMETRY": "0", "COLUMNS": "300"}
    )
    return done.stdout if done.returncode == 0 else None


CHECKS: dict[str, Callable[[list[str]], Iterator[str]]] = {
    "make": _make,
    "aws": _aws,
    ".venv-sam/bin/sam": _sam,
    ".venv/bin/python": _python,
    "date": lambda _: iter(()),
}
