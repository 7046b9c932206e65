"""The `smsweep` command: its verbs, and how every error ends."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from smsweep._version import __version__
from smsweep.cli.broken_pipe import guard
from smsweep.cli.lazy_group import CONTEXT_SETTINGS, LazyGroup
from smsweep.cli.logging_setup import NORMAL, set_level
from smsweep.cli.options import Debug, Quiet, Verbose
from smsweep.cli.text import clean_line
from smsweep.errors import NotInStore, SmsweepError

ISSUES = "https://github.com/smsweep/smsweep/issues"

EPILOG = """\b
Start here:  smsweep run sweep.yaml --parallel 2
Exit codes:  0 done, 1 error, 2 wrong config or usage, 3 trials failed, 130 Ctrl-C, 143 SIGTERM
Environment: SMSWEEP_DIR (default ./.smsweep), SMSWEEP_STORE, SMSWEEP_BACKEND, SMSWEEP_DEBUG, NO_COLOR
"""

COMPLETE_VAR = "_SMSWEEP_COMPLETE"  # set by the script of `smsweep completion` when it asks for completions
# Plain help, because rich takes a fifth of a second. Completion is a command, so its two options stay hidden.
app = typer.Typer(
    cls=LazyGroup,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    add_completion=COMPLETE_VAR in os.environ,
    epilog=EPILOG,
    context_settings=CONTEXT_SETTINGS,
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"smsweep {__version__}")
        raise typer.Exit


@app.callback()
def smsweep(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Run W&B sweeps as SageMaker training jobs, one job per trial, and on your own machine first."""


def _with_place(word: str) -> str:
    """Return a word of the command line, `--detach=WHERE` as the option that it is short for."""
    return f"--detach-to={word.partition('=')[2]}" if word.startswith("--detach=") else word


def main() -> None:
    """Run the command line and exit with its code; an error is a message on stderr, never a traceback."""
    set_level(NORMAL)
    guard()
    try:
        app(prog_name="smsweep", args=[_with_place(word) for word in sys.argv[1:]])
    except NotInStore as err:
        fail(err, f"{err}\nsee `smsweep ls` and `smsweep trials ID` for what there is", err.exit_code)
    except SmsweepError as err:
        fail(err, str(err), err.exit_code)
    except OSError as err:
        fail(err, _sentence(err), 1)
    except Exception as err:  # noqa: BLE001 - the last place where it can become a sentence
        fail(
            err,
            f"{type(err).__name__}: {err}\n"
            f"This should not happen. Please report it, with what --debug shows, at {ISSUES}",
            1,
        )


def _sentence(err: OSError) -> str:
    if err.filename:
        return f"{err.filename}: {err.strerror}"
    try:
        Path.cwd()
    except FileNotFoundError:
        return "the folder in which this was started is not there any more; cd to one that is"
    return str(err)


def fail(err: BaseException, message: str, code: int) -> None:
    """End the process with an error message, and the traceback if the user wants to see it."""
    if os.environ.get("SMSWEEP_DEBUG", "0") not in ("", "0"):
        traceback.print_exception(err)
    typer.secho("error: ", fg="red", nl=False, err=True)
    typer.echo("\n".join(map(clean_line, message.split("\n"))), err=True)  # it may quote what others wrote
    sys.exit(code)


if __name__ == "__main__":
    main()
