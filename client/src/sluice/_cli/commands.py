"""The commands and their options."""

import json
import os
import sys
from math import isfinite
from pathlib import Path
from typing import Any, NoReturn

import click
from rich.console import Console

from sluice._cli import inspect
from sluice._cli.connection import Connection, parse_target, read_api_key
from sluice._cli.estimate import Price
from sluice._cli.exit_codes import ExitCode, ExitError, Terminated, to_exit_error
from sluice._cli.input_file import Format
from sluice._cli.result_formats import ResultFormat
from sluice._cli.run_command import RunOptions, run_file
from sluice._cli.sanitizer import for_terminal
from sluice._cli.signals import interrupts
from sluice._exceptions import SluiceError
from sluice._version import __version__

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
EPILOG = """\b
Exit codes:
  0    every task completed
  1    some tasks failed, were cancelled or expired
  2    the command line or the input file is invalid; nothing was sent
  3    the service is unreachable or keeps failing
  4    the service rejected the key, the budget or the request
  5    a file could not be read or written
  130  Ctrl-C (143: SIGTERM, 141: the output pipe was closed)
"""
FORMATS = click.Choice([str(form) for form in Format])
SHAPES = click.Choice([str(shape) for shape in ResultFormat])
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Write JSON, for scripts.")
RAW = click.option(
    "--raw", is_flag=True, help="Don't escape control characters on a terminal, nor formulas in CSV cells."
)
TARGET = click.argument("target")


@click.group(context_settings=CONTEXT, epilog=EPILOG)
@click.option("--url", envvar="SLUICE_URL", help="The URL of the service.  [env: SLUICE_URL]")
@click.option(
    "--api-key-file", type=click.Path(), help="A file with the API key, instead of the variable SLUICE_API_KEY."
)
@click.version_option(__version__, message="sluice %(version)s")
@click.pass_context
def cli(context: click.Context, url: str | None, api_key_file: str | None) -> None:
    """Submit prompts to Sluice, watch and cancel tasks, and read their results.

    A TARGET is the ID of a task or a batch, or a results file written by `sluice run`.
    """
    context.obj = Connection(url, read_api_key(api_key_file))


@cli.command()
@click.argument("source", type=click.Path(allow_dash=True))
@click.option(
    "-o",
    "--output",
    default="-",
    type=click.Path(allow_dash=True),
    help="The results file; - is standard output, the default.",
)
@click.option("--format", "form", type=FORMATS, help="The format of SOURCE, if its file name does not tell.")
@click.option("--shape", type=SHAPES, help="The format of the results; openai is the Batch API's output file.")
@click.option(
    "--as-completed", is_flag=True, help="Write each result as its task ends, instead of in the order of SOURCE."
)
@click.option("-t", "--template", help="Build prompts from columns or fields: 'Describe {name}.'; @FILE reads it.")
@click.option("-w", "--workflow", help="Submit the objects or rows as inputs of this workflow.")
@click.option("-m", "--model", help="The model for prompts without one.")
@click.option("-s", "--system", help="The system prompt for prompts without one; @FILE reads it.")
@click.option(
    "-p",
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="A model parameter, such as temperature=0.2.",
)
@click.option(
    "--deadline", type=click.IntRange(1), metavar="SECONDS", help="A task without a result after this time fails."
)
@click.option("--retention", type=click.IntRange(1), metavar="SECONDS", help="How long the service keeps results.")
@click.option("--metadata", multiple=True, metavar="NAME=TEXT", help="Metadata of the batches.")
@click.option(
    "--in-flight", default=1_000, type=click.IntRange(1), show_default=True, help="Maximum prompts in flight."
)
@click.option(
    "--chunk-size", default=100, type=click.IntRange(1, 1_000), show_default=True, help="Maximum prompts per request."
)
@click.option(
    "--retry-failed", is_flag=True, help="Submit failed prompts again, once, and put their results into the file."
)
@click.option("--fresh", is_flag=True, help="Submit prompts again even if an earlier run did; they are charged again.")
@click.option("--overwrite", is_flag=True, help="Replace the results of another run.")
@click.option("--check", "check_only", is_flag=True, help="Only validate SOURCE and estimate its tokens; send nothing.")
@click.option("--price", metavar="INPUT:OUTPUT", help="With --check: USD per million tokens, such as 0.25:2.00.")
@click.option("--webhook", metavar="URL", help="The service notifies this URL when each batch has ended.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@RAW
@AS_JSON
@click.pass_obj
def run(
    service: Connection,
    /,
    source: str,
    output: str,
    params: tuple[str, ...],
    metadata: tuple[str, ...],
    **flags: Any,  # noqa: ANN401 - click passes the options by name
) -> None:
    """Submit every prompt of a file and write the results.

    SOURCE is JSON Lines (each line a string, a prompt object of the API, or a request of the OpenAI Batch API), CSV
    with a header row, or plain text with one prompt per line; - is standard input.

    After Ctrl-C or a crash, run the same command again: it resumes, and no prompt is submitted twice.
    """
    options = RunOptions(
        source=source,
        output=output,
        call_options=_options(flags, params, metadata),
        template=_text(flags["template"]),
        form=flags["form"],
        shape=ResultFormat(flags["shape"]) if flags["shape"] else None,
        ordered=not flags["as_completed"],
        in_flight=max(flags["in_flight"], flags["chunk_size"]),
        chunk_size=flags["chunk_size"],
        fresh=flags["fresh"],
        overwrite=flags["overwrite"],
        check_only=flags["check_only"],
        quiet=flags["quiet"],
        as_json=flags["as_json"],
        raw=flags["raw"],
        price=_price(flags["price"]),
        retry_failed=flags["retry_failed"],
    )
    sys.exit(run_file(service, options, _console()))


@cli.command()
@TARGET
@AS_JSON
@click.pass_obj
def status(service: Connection, target: str, as_json: bool) -> None:
    """Show the status of a task, a batch or a run."""
    with service.client(patience=inspect.PATIENCE_SECONDS) as sluice:
        sys.exit(inspect.show(sluice, parse_target(target), Console(), as_json=as_json))


@cli.command()
@TARGET
@AS_JSON
@click.pass_obj
def watch(service: Connection, target: str, as_json: bool) -> None:
    """Show live progress of a task, a batch or a run until it ends."""
    with service.client() as sluice:
        sys.exit(inspect.watch(sluice, parse_target(target), Console() if as_json else _console(), as_json=as_json))


@cli.command()
@TARGET
@AS_JSON
@RAW
@click.pass_obj
def results(service: Connection, target: str, as_json: bool, raw: bool) -> None:  # noqa: ARG001 - always JSON Lines
    """Write the results available so far of a task, a batch or a run, as JSON Lines."""
    with service.client() as sluice:
        sys.exit(inspect.results(sluice, parse_target(target), raw=raw))


@cli.command()
@TARGET
@AS_JSON
@click.pass_obj
def cancel(service: Connection, target: str, as_json: bool) -> None:
    """Cancel the tasks of a target that have not ended."""
    with service.client(patience=inspect.PATIENCE_SECONDS) as sluice:
        sys.exit(inspect.cancel(sluice, parse_target(target), Console(), as_json=as_json))


@cli.command()
@TARGET
@AS_JSON
@click.pass_obj
def retry(service: Connection, target: str, as_json: bool) -> None:
    """Submit the failed tasks of a batch or a run again, as new batches.

    To have their results in the results file, repeat `sluice run` with --retry-failed instead, or afterwards.
    """
    with service.client(patience=inspect.PATIENCE_SECONDS) as sluice:
        sys.exit(inspect.retry(sluice, parse_target(target), as_json=as_json))


@cli.command()
@click.argument("task_id")
@click.option("--after", metavar="EVENT", help="Resume after the event with this ID, as --json shows it.")
@AS_JSON
@RAW
@click.pass_obj
def stream(service: Connection, task_id: str, after: str | None, as_json: bool, raw: bool) -> None:
    """Write a task's text while it is generated."""
    with service.client() as sluice:
        sys.exit(inspect.stream(sluice, task_id, after, as_json=as_json, raw=raw))


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the shell completion script: eval "$(sluice completion bash)"."""
    from click.shell_completion import get_completion_class  # noqa: PLC0415 - only this command needs it

    if kind := get_completion_class(shell):
        click.echo(kind(cli, {}, "sluice", "_SLUICE_COMPLETE").source())


def run_command() -> int:
    """Run the command line and return the exit code; print errors as text, without a traceback."""
    interrupts.install()
    try:
        cli.main(standalone_mode=False, prog_name="sluice")
    except SystemExit as end:
        code = int(end.code or 0)
    except click.ClickException as error:
        error.show()
        code = ExitCode.USAGE
    except (click.Abort, KeyboardInterrupt) as end:
        code = ExitCode.TERMINATED if isinstance(end, Terminated) else ExitCode.INTERRUPTED
    except ExitError as stop:
        code = _report_error(stop)
    except SluiceError as error:
        code = _report_error(to_exit_error(error))
    except BrokenPipeError:
        code = ExitCode.BROKEN_PIPE
    else:
        code = ExitCode.COMPLETED
    return _flush(code)


def _flush(code: int) -> int:
    """Flush standard output, whose reader may have closed the pipe."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = ExitCode.BROKEN_PIPE
    if code == ExitCode.BROKEN_PIPE:
        # Python flushes again at exit, which would print an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _report_error(stop: ExitError) -> int:
    if str(stop):
        _console().print(for_terminal(f"sluice: {stop}"), style="red", highlight=False, markup=False, soft_wrap=True)
    return stop.code


def _console() -> Console:
    return Console(stderr=True)


def _text(value: str | None) -> str | None:
    if value is None or not value.startswith("@"):
        return value
    try:
        return Path(value[1:]).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise click.BadParameter(f"could not read {value[1:]} as UTF-8 text") from None


def _options(flags: dict[str, Any], params: tuple[str, ...], metadata: tuple[str, ...]) -> dict[str, Any]:
    if flags["workflow"] and (flags["model"] or flags["system"] or params):
        raise click.UsageError("--workflow can't be combined with --model, --system or --param: the workflow sets them")
    options = {
        "workflow": flags["workflow"],
        "model": flags["model"],
        "system": _text(flags["system"]),
        "params": {name: _value(value) for name, value in map(_pair, params)},
        "metadata": dict(map(_pair, metadata)),
        "deadline_seconds": flags["deadline"],
        "retention_seconds": flags["retention"],
        "extra_body": {"webhook": {"url": flags["webhook"]}} if flags["webhook"] else None,
    }
    try:
        json.dumps([options, flags["template"]], ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise click.UsageError("an option is not UTF-8 text") from None
    return {name: value for name, value in options.items() if value}


def _price(text: str | None) -> Price | None:
    try:
        return None if text is None else Price.of(text)
    except ValueError:
        raise click.BadParameter(f"--price {text!r} is not of the form INPUT:OUTPUT, such as 0.25:2.00") from None


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise click.BadParameter(f"{text!r} is not of the form NAME=VALUE")
    return name, value


def _value(text: str) -> Any:  # noqa: ANN401 - JSON
    """Parse a value as JSON; keep it as text if it is not JSON."""
    try:
        return json.loads(text, parse_constant=_reject_number, parse_float=_finite)
    except (ValueError, RecursionError):
        return text


def _finite(text: str) -> float:
    return number if isfinite(number := float(text)) else _reject_number(text)


def _reject_number(text: str) -> NoReturn:
    raise click.BadParameter(f"{text} is not a number in JSON")
