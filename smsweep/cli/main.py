"""The `smsweep` command: global options, error messages and exit codes."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from smsweep._version import __version__
from smsweep.cli.lazy_group import CONTEXT_SETTINGS, LazyGroup
from smsweep.cli.options import Debug, Quiet, Verbose
from smsweep.cli.output import NORMAL, set_level
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
CLOSED = (errno.EPIPE, errno.EIO)  # the reader closed the pipe; the terminal closed


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


class Pipe(io.RawIOBase):
    """Writes to a file descriptor until a write fails; discards everything after that.

    Args:
        descriptor: The file descriptor.
        on_failed: Called once with the error of the first failed write.
    """

    def __init__(self, descriptor: int, on_failed: Callable[[OSError], object]) -> None:
        self._descriptor = descriptor
        self._on_failed = on_failed
        self._is_broken = False

    def write(self, data: object) -> int:
        chunk = memoryview(data)  # type: ignore[arg-type]  # the buffer protocol has no type before Python 3.12
        written = 0
        try:
            while written < len(chunk) and not self._is_broken:
                written += os.write(self._descriptor, chunk[written:])
        except OSError as err:
            self._is_broken = True
            self._on_failed(err)
        return len(chunk)

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True


def guard() -> None:
    """Exit quietly when the reader of stdout closes it, as git does. Ignore a closed stderr.

    So an agent whose `2>&1 | tee` was ended by Ctrl-C still finishes its trials. A stream that is closed from the
    start, as with `>&-`, writes to /dev/null: else a file that is opened later gets its descriptor and its output.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
            os.set_inheritable(opened, True)  # like the standard streams
    if sys.stdout is sys.__stdout__:
        sys.stdout = _guarded(1, sys.stdout, _end)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _guarded(2, sys.stderr, lambda _: None)


def _guarded(descriptor: int, stream: object, on_failed: Callable[[OSError], object]) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        Pipe(descriptor, on_failed),  # type: ignore[arg-type]  # as Python does for `-u`
        encoding=getattr(stream, "encoding", "utf-8"),
        errors="backslashreplace",  # an ASCII terminal must not cause an error
        write_through=True,  # signal handlers print too, and a buffer in use raises an error
    )


def _end(err: OSError) -> None:
    """Exit quietly if the reader has closed stdout. Raise OSError for other errors, such as a full disk."""
    if err.errno not in CLOSED:
        raise OSError(err.errno, err.strerror, "stdout") from err
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.raise_signal(signal.SIGPIPE)
