"""Owns the command line: one file per command. Commands parse, call the library, and print.

Results go to stdout, everything said along the way to stderr. Every command imports what it needs when it
runs, so that `pconv --help` is quick.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from pconv._version import __version__
from pconv.cli import (
    bench,
    compile,
    demo,
    devices,
    export,
    forecast,
    inspect,
    interrupts,
    prune,
    recipe,
    report,
    run,
    train,
    tune,
    verify,
)
from pconv.cli.console import complain
from pconv.errors import PconvError

FAILED = 2
BUG = 1
INTERRUPTED = 130

UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""What typer raises for a command line that it cannot read, under a name that each of its versions has."""

app = typer.Typer(
    name="pconv",
    help="Prune CNNs with patterns and connectivity, and compile them to native code that is faster for it.",
    epilog="Begin with:  pconv demo        then:  pconv bench resnet18 --compression 8",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in (
    prune, train, compile, export, run, inspect, verify, report, bench, devices, demo, tune, forecast, recipe,
):  # fmt: skip
    _command.register(app)


def _version(asked: bool) -> None:
    if asked:
        print(f"pconv {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Show tracebacks (also: PCONV_DEBUG=1); works after a command too."),
    ] = False,
) -> None:
    pass


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 a bug of ours, 2 something to correct, 130 interrupted.

    It is 1 too where `verify` finds fault with a model, and where whoever reads the output goes away, as `head` does:
    then nothing is said.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    arguments = [argument for argument in given if argument != "--debug"]
    debug = len(arguments) < len(given) or os.environ.get("PCONV_DEBUG", "0") not in ("", "0")
    try:
        with interrupts.remembered():
            code = app(arguments or ["--help"], prog_name="pconv", standalone_mode=False)
            sys.stdout.flush()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what its buffer still holds
        code = 1
    except Exception as error:
        if debug:
            traceback.print_exception(error)
        code, text = _judge(error, arguments)
        complain(text)
        sys.exit(code)
    if code == INTERRUPTED:  # which is what typer makes of Ctrl-C
        complain("interrupted")
    sys.exit(code)


def _judge(error: Exception, arguments: Sequence[str]) -> tuple[int, str]:
    if _interrupted(error):
        return INTERRUPTED, "interrupted"
    if isinstance(error, UsageError):
        return FAILED, _wrong_usage(error, arguments)
    if isinstance(error, MemoryError):
        return FAILED, f"not enough memory ({_one_line(error) or 'no more is to be had'})"
    if isinstance(error, PconvError | OSError):
        return FAILED, _one_line(error)
    return BUG, f"{type(error).__name__}: {_one_line(error)}; this is a bug, rerun with --debug"


def _interrupted(error: BaseException | None) -> bool:
    """Say whether it all began with Ctrl-C: torch's export makes other errors of it."""
    if interrupts.seen():
        return True
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def _wrong_usage(error: Any, arguments: Sequence[str]) -> str:
    text = " ".join(error.format_message().split()).replace(": Value error, ", ": ")
    end = "" if text.endswith((".", "?")) else "."
    command = error.ctx.command_path if error.ctx else " ".join(["pconv", *_command_of(arguments)])
    return f"{text}{end} See {command} --help."


def _command_of(arguments: Sequence[str]) -> list[str]:
    """Give the command among the arguments, for errors that do not know theirs."""
    return [argument for argument in arguments if not argument.startswith("-")][:1]


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    return " ".join(str(error).split())
