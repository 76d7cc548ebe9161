"""The commands and their options."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from sluice._cli import inspect
from sluice._cli.connection import Connection, key_in, target_of
from sluice._cli.exit_codes import ExitCode, ExitError, Terminated, exit_error_of
from sluice._cli.input_file import Format
from sluice._cli.result_formats import ResultFormat
from sluice._cli.run_command import RunOptions, run_file
from sluice._cli.signals import interrupts
from sluice._exceptions import SluiceError

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
EPILOG = """\b
Exit codes:
  0    every task completed
  1    some failed, were cancelled or have expired
  2    the command line or the file is wrong; nothing was sent
  3    the service does not answer, or not well
  4    the service refuses: the key, the budget, or what was sent
  5    a file could not be written
  130  Ctrl-C (143: SIGTERM, 141: nobody reads the output)
"""
FORMATS = click.Choice([str(form) for form in Format])
SHAPES = click.Choice([str(shape) for shape in ResultFormat])
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Write JSON, for scripts.")
TARGET = click.argument("target")


@click.group(context_settings=CONTEXT, epilog=EPILOG)
@click.option("--url", envvar="SLUICE_URL", help="Where the service is.  [env: SLUICE_URL]")
@click.option("--api-key-file", type=click.Path(), help="A file with the key, instead of the variable SLUICE_API_KEY.")
@click.version_option(package_name="sluice", message="%(package)s %(version)s")
@click.pass_context
def cli(context: click.Context, url: str | None, api_key_file: str | None) -> None:
    """Send prompts to a Sluice, watch them, take them back, and read their answers.

    A TARGET is the id of a task or of a batch, or a file of results that `sluice run` writes.
    """
    context.obj = Connection(url, key_in(api_key_file))


@cli.command()
@click.argument("source", type=click.Path(allow_dash=True))
@click.option(
    "-o",
    "--output",
    default="-",
    type=click.Path(allow_dash=True),
    help="Where results go; - is standard output, and what is said if nothing is.",
)
@click.option("--format", "form", type=FORMATS, help="How SOURCE is written, if its name does not say it.")
@click.option("--shape", type=SHAPES, help="How results are written: openai is the Batch API's output file.")
@click.option(
    "--as-completed", is_flag=True, help="Write each result when it comes, instead of in the order of SOURCE."
)
@click.option("-t", "--template", help="Makes prompts of columns or fields: 'Describe {name}.'; @FILE reads it.")
@click.option("-w", "--workflow", help="The workflow whose inputs the objects or rows are.")
@click.option("-m", "--model", help="The model for prompts that name none.")
@click.option("-s", "--system", help="The system prompt for prompts that have none; @FILE reads it.")
@click.option(
    "-p",
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="A parameter of the model, such as temperature=0.2.",
)
@click.option(
    "--deadline", type=click.IntRange(1), metavar="SECONDS", help="After so long a prompt without an answer fails."
)
@click.option("--retention", type=click.IntRange(1), metavar="SECONDS", help="How long answers stay at the service.")
@click.option("--metadata", multiple=True, metavar="NAME=TEXT", help="A text of your own for the batches.")
@click.option(
    "--in-flight", default=1_000, type=click.IntRange(1), show_default=True, help="Prompts under way at a time."
)
@click.option(
    "--chunk-size", default=100, type=click.IntRange(1, 1_000), show_default=True, help="Prompts in one call."
)
@click.option("--fresh", is_flag=True, help="Ask again what was asked before, and pay for it.")
@click.option("--overwrite", is_flag=True, help="Replace results that are another run's.")
@click.option("--check", "check_only", is_flag=True, help="Only look whether SOURCE is right; nothing is sent.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@AS_JSON
@click.pass_obj
def run(
    service: Connection,
    /,
    source: str,
    output: str,
    params: tuple[str, ...],
    metadata: tuple[str, ...],
    **said: Any,  # noqa: ANN401 - as click hands the options over
) -> None:
    """Ask every prompt of a file and write the results.

    SOURCE is JSON Lines (a text, a prompt of the API, or a request of the OpenAI Batch API in each), CSV with a first
    line of names, or plain lines with a prompt in each; - is standard input.

    After Ctrl-C or a crash the same command goes on where it was, and nothing is asked twice.
    """
    options = RunOptions(
        source=source,
        output=output,
        call_options=_options(said, params, metadata),
        template=_text(said["template"]),
        form=said["form"],
        shape=ResultFormat(said["shape"]) if said["shape"] else None,
        ordered=not said["as_completed"],
        in_flight=max(said["in_flight"], said["chunk_size"]),
        chunk_size=said["chunk_size"],
        fresh=said["fresh"],
        overwrite=said["overwrite"],
        check_only=said["check_only"],
        quiet=said["quiet"],
        as_json=said["as_json"],
    )
    sys.exit(run_file(service, options, _console()))


@cli.command()
@TARGET
@AS_JSON
@click.pass_obj
def status(service: Connection, target: str, as_json: bool) -> None:
    """Show how a task, a batch or a run stands."""
    with service.client(patience=inspect.PATIENCE_SECONDS) as sluice:
        sys.exit(inspect.show(sluice, target_of(target), Console(), as_json=as_json))


@cli.command()
@TARGET
@AS_JSON
@click.pass_obj
def watch(service: Connection, target: str, as_json: bool) -> None:
    """Watch a task, a batch or a run to its end."""
    with service.client() as sluice:
        sys.exit(inspect.watch(sluice, target_of(target), Console() if as_json else _console(), as_json=as_json))


@cli.command()
@TARGET
@AS_JSON
@click.pass_obj
def results(service: Connection, target: str, as_json: bool) -> None:  # noqa: ARG001 - results are JSON Lines always
    """Write what a task, a batch or a run has brought so far, as JSON Lines."""
    with service.client() as sluice:
        sys.exit(inspect.results(sluice, target_of(target)))


@cli.command()
@TARGET
@AS_JSON
@click.pass_obj
def cancel(service: Connection, target: str, as_json: bool) -> None:
    """Take back what has not ended of a task, a batch or a run."""
    with service.client(patience=inspect.PATIENCE_SECONDS) as sluice:
        sys.exit(inspect.cancel(sluice, target_of(target), Console(), as_json=as_json))


@cli.command()
@TARGET
@AS_JSON
@click.pass_obj
def retry(service: Connection, target: str, as_json: bool) -> None:
    """Ask again what failed of a batch or a run, as new batches."""
    with service.client(patience=inspect.PATIENCE_SECONDS) as sluice:
        sys.exit(inspect.retry(sluice, target_of(target), as_json=as_json))


@cli.command()
@click.argument("task_id")
@click.option("--after", metavar="EVENT", help="Go on after the event of this id, as --json shows it.")
@AS_JSON
@click.pass_obj
def stream(service: Connection, task_id: str, after: str | None, as_json: bool) -> None:
    """Write a task's text as it comes."""
    with service.client() as sluice:
        sys.exit(inspect.stream(sluice, task_id, after, as_json=as_json))


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Write what makes a shell complete `sluice`: eval "$(sluice completion bash)"."""
    from click.shell_completion import get_completion_class  # noqa: PLC0415 - for this command alone

    if kind := get_completion_class(shell):
        click.echo(kind(cli, {}, "sluice", "_SLUICE_COMPLETE").source())


def run_command() -> int:
    """Run the command line and return the exit code; whatever goes wrong is told in words."""
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
        code = _told(stop)
    except SluiceError as error:
        code = _told(exit_error_of(error))
    except BrokenPipeError:
        code = ExitCode.BROKEN_PIPE
    else:
        code = ExitCode.COMPLETED
    return _flushed(code)


def _flushed(code: int) -> int:
    """Write what is left for standard output; nobody may be reading it any more."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = ExitCode.BROKEN_PIPE
    if code == ExitCode.BROKEN_PIPE:
        # Python flushes once more when it ends, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _told(stop: ExitError) -> int:
    if str(stop):
        _console().print(f"sluice: {stop}", style="red", highlight=False, markup=False, soft_wrap=True)
    return stop.code


def _console() -> Console:
    return Console(stderr=True)


def _text(said: str | None) -> str | None:
    if said is None or not said.startswith("@"):
        return said
    try:
        return Path(said[1:]).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise click.BadParameter(f"could not read {said[1:]}") from None


def _options(said: dict[str, Any], params: tuple[str, ...], metadata: tuple[str, ...]) -> dict[str, Any]:
    if said["workflow"] and (said["model"] or said["system"] or params):
        raise click.UsageError("--workflow takes no --model, --system or --param: they are the workflow's own")
    options = {
        "workflow": said["workflow"],
        "model": said["model"],
        "system": _text(said["system"]),
        "params": {name: _value(value) for name, value in map(_pair, params)},
        "metadata": dict(map(_pair, metadata)),
        "deadline_seconds": said["deadline"],
        "retention_seconds": said["retention"],
    }
    return {name: value for name, value in options.items() if value}


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise click.BadParameter(f"{text!r} is not NAME=VALUE")
    return name, value


def _value(text: str) -> Any:  # noqa: ANN401 - JSON
    """Read a value as JSON, or as the text that it is."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
