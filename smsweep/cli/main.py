"""The `smsweep` command: global options, error messages and exit codes."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from smsweep._version import __version__
from smsweep.cli.lazy_group import CONTEXT_SETTINGS, LazyGroup
from smsweep.cli.options import Debug, Quiet, Verbose
from smsweep.cli.streams import NORMAL, guard, set_level
from smsweep.cli.text import clean_line
from smsweep.errors import NotInStore, SmsweepError

ISSUES = "https://github.com/smsweep/smsweep/issues"

EPILOG = """\b
Start here:  smsweep run sweep.yaml --parallel 2
Exit codes:  0 done, 1 error, 2 wrong config or usage, 3 trials failed, 130 Ctrl-C, 143 SIGTERM
Environment: SMSWEEP_DIR (default ./.smsweep), SMSWEEP_STORE, SMSWEEP_BACKEND, SMSWEEP_DEBUG, NO_COLOR
"""

COMPLETE_VAR = "_SMSWEEP_COMPLETE"  # set by the script of `smsweep completion` when the shell asks for completions
# Plain help, because rich takes 0.2 s to import. Completion is a command, so typer's two options stay hidden.
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
    """Run W&B sweeps as SageMaker training jobs, one job per trial, or on your own machine."""


def _expand_detach(argument: str) -> str:
    """Return an argument of the command line, with `--detach=WHERE` written as `--detach-to=WHERE`."""
    return f"--detach-to={argument.partition('=')[2]}" if argument.startswith("--detach=") else argument


def main() -> None:
    """Run the command line and exit with its code. Errors are messages on stderr, without a traceback."""
    set_level(NORMAL)
    guard()
    try:
        app(prog_name="smsweep", args=[_expand_detach(argument) for argument in sys.argv[1:]])
    except NotInStore as err:
        fail(err, f"{err}\nlist what exists with: smsweep ls; smsweep trials ID", err.exit_code)
    except SmsweepError as err:
        fail(err, str(err), err.exit_code)
    except OSError as err:
        fail(err, _os_error_message(err), 1)
    except Exception as err:  # noqa: BLE001 - the last place that can turn it into a message
        fail(
            err,
            f"{type(err).__name__}: {err}\n"
            f"This is a bug. Please report it, with the output of --debug, at {ISSUES}",
            1,
        )


def _os_error_message(err: OSError) -> str:
    if err.filename:
        return f"{err.filename}: {err.strerror}"
    try:
        Path.cwd()
    except FileNotFoundError:
        return "the current folder was deleted; change to an existing folder"
    return str(err)


def fail(err: BaseException, message: str, code: int) -> None:
    """Print an error message, with the traceback in debug mode, and exit.

    Args:
        err: The error, for the traceback.
        message: What to print after "error: "; may have several lines.
        code: The exit code.
    """
    if os.environ.get("SMSWEEP_DEBUG", "0") not in ("", "0"):
        traceback.print_exception(err)
    typer.secho("error: ", fg="red", nl=False, err=True)
    typer.echo("\n".join(map(clean_line, message.split("\n"))), err=True)  # it can quote untrusted text
    sys.exit(code)


if __name__ == "__main__":
    main()
