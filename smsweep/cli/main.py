"""The `smsweep` command: global options, exit codes, and errors as `WHERE: WHAT IS WRONG; HOW TO FIX IT`."""

from __future__ import annotations

import gc
import os
import stat
import sys
import traceback
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer

from smsweep._version import __version__
from smsweep.cli.lazy_group import CONTEXT_SETTINGS, LazyGroup
from smsweep.cli.options import Debug, Dir, Profile, Quiet, Region, Verbose
from smsweep.cli.streams import NORMAL, guard, set_level
from smsweep.cli.text import clean_line
from smsweep.errors import NotInStore, SmsweepError
from smsweep.store.home import home_dir

ISSUES = "https://github.com/smsweep/smsweep/issues"

EPILOG = """\b
Start here:  smsweep run sweep.yaml --parallel 2
Exit codes:  0 done, 1 error, 2 wrong config or usage, 3 trials failed, 130 Ctrl-C, 143 SIGTERM
Environment: SMSWEEP_DIR (or --dir), SMSWEEP_STORE, SMSWEEP_BACKEND, SMSWEEP_DEBUG, NO_COLOR
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
# Base classes of all errors of typer's parser. Typer has no public names for them.
ParserError: type[Exception] = typer.BadParameter.__bases__[0].__bases__[0]
# Letters of W&B and of other tools that have no meaning or another one here -> options of smsweep.
INSTEAD = {
    "-f": ("--forward-signals", "--force"),
    "-c": ("--count",),
    "-b": ("--backend",),
    "-n": ("--interval",),
    "-o": ("--option",),
}
# Options of W&B without a counterpart -> what to do instead.
WITHOUT_COUNTERPART = {"--settings": "the settings of a sweep have no effect in smsweep; remove the option"}


def _print_version(is_requested: bool) -> None:
    if is_requested:
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
    directory: Dir = None,
    profile: Profile = None,
    region: Region = None,
) -> None:
    """Run W&B sweeps as SageMaker training jobs, one job per trial, or on your own machine."""
    gc.freeze()  # collections do not visit the objects of the imported modules
    gc.enable()


def _expand_detach(argument: str) -> str:
    """Return an argument of the command line, with `--detach=WHERE` written as `--detach-to=WHERE`."""
    return f"--detach-to={argument.partition('=')[2]}" if argument.startswith("--detach=") else argument


def main() -> None:
    """Run the command line and exit with its code. Errors are messages on stderr, without a traceback."""
    gc.disable()  # a tenth of the time of the imports; until the command starts
    set_level(NORMAL)
    guard()
    _record_redirects()
    try:
        arguments = [_expand_detach(argument) for argument in sys.argv[1:]]
        code = app(prog_name="smsweep", args=arguments, standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except ParserError as err:
        if type(err).__name__ == "NoArgsIsHelpError":
            typer.echo(err, err=True)
            sys.exit(2)
        fail(err, usage_message(err), 2)
    except typer.Abort:
        typer.echo("Aborted!", err=True)
        sys.exit(1)
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
    finally:
        _record_redirects()  # the command may have created the workspace


def _record_redirects() -> None:
    """Record the files that the shell writes this command's output to, so that no source includes them."""
    with suppress(OSError):
        if any(stat.S_ISREG(os.fstat(stream).st_mode) for stream in (1, 2)):
            from smsweep.source.written_files import record_written, redirected_streams  # slow to import

            home = home_dir(os.environ)
            places = (Path.cwd(), home.parent)
            files = [path for path in redirected_streams() if any(map(path.is_relative_to, places))]
            record_written(home, files)


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


def usage_message(err: Any) -> str:
    """Return the message of an error of typer's parser.

    Args:
        err: An instance of ParserError.
    """
    kind = type(err).__name__
    context = getattr(err, "ctx", None)
    command = context.command_path if context else "smsweep"
    parameter = getattr(err, "param", None)
    if kind == "NoSuchOption":
        return f"{err.option_name}: {command} has no such option; {_other_option(err, context, command)}"
    if kind == "BadOptionUsage":
        needs = "needs a value; add one" if "require" in err.message else "has no value; remove the value"
        return f"{err.option_name}: this option {needs}"
    if kind == "MissingParameter" and parameter is not None:
        example = " ".join([command, *map(_example, _required(context))])
        choices = _choices(parameter)
        values = f"; {_name(parameter)} is one of {', '.join(choices)}" if choices else ""
        return f"{command}: {_name(parameter)} is missing; write: {example}{values}"
    if kind == "BadParameter" and parameter is not None:
        return f"{_name(parameter)}: {_invalid_value(err, parameter)}"
    message = err.format_message().rstrip(".")
    if "unexpected extra argument" in message:
        extra = message.partition("(")[2].partition("(")[2].rstrip(")")
        return f"{command}: unexpected argument {extra}; remove it, or see {command} --help"
    return f"{command}: {message[:1].lower()}{message[1:]}; see {command} --help"


def _name(parameter: Any) -> str:
    """Return the long name of an option, or the name of an argument in the help."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name.upper())
    return str(max(parameter.opts, key=len))


def _required(context: Any) -> list[Any]:
    """Return the required options and arguments of a command, arguments first."""
    required = [parameter for parameter in context.command.params if parameter.required]
    return sorted(required, key=lambda parameter: parameter.param_type_name)


def _example(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return _name(parameter)
    return f"{_name(parameter)} {parameter.metavar or 'N'}"


def _other_option(err: Any, context: Any, command: str) -> str:
    """Return what to use instead of an unknown option."""
    known = [option for parameter in context.command.params for option in parameter.opts] if context else []
    for option in INSTEAD.get(err.option_name, ()):
        if option in known:
            return f"use {option}"
    if err.option_name in WITHOUT_COUNTERPART:
        return WITHOUT_COUNTERPART[err.option_name]
    close = err.possibilities or get_close_matches(err.option_name, known)
    return f"did you mean {', or '.join(close)}?" if close else f"list its options with: {command} --help"


def _choices(parameter: Any) -> list[str]:
    """Return the possible values; empty for any value."""
    choices = getattr(getattr(parameter, "type_descriptor", parameter.__dict__.get("type")), "choices", None)
    return [str(getattr(choice, "value", choice)) for choice in choices or ()]


def _invalid_value(err: Any, parameter: Any) -> str:
    """Return the problem of a value that has the wrong type or is not in the range of its option."""
    details: list[dict[str, Any]] = getattr(err.__cause__, "errors", list)()  # pydantic checks the values
    problem: dict[str, Any] = details[0] if details else {"type": "", "input": "", "ctx": {}}
    kind, value, limits = problem["type"], problem["input"], problem.get("ctx", {})
    if choices := _choices(parameter):
        close = get_close_matches(str(value), choices, 1)
        advice = f"did you mean {close[0]}? " if close else ""
        return f"{value!r} is not a valid value; {advice}{'U' if close else 'u'}se one of {', '.join(choices)}"
    if kind in ("greater_than_equal", "less_than_equal"):
        bound, which = (limits["ge"], "small") if "ge" in limits else (limits["le"], "large")
        return f"{value} is too {which}; use {bound:g} or {'more' if which == 'small' else 'less'}"
    if kind.startswith("int_"):
        return f"{value!r} is not a whole number; write digits, such as {parameter.min or 1}"
    if kind.startswith(("float_", "finite_")):
        return f"{value!r} is not a number; write one, such as 1.5"
    message = err.message.removeprefix("Value error, ").rstrip(".")
    fix = "" if "; " in message else "; see the help with --help"
    return f"{message[:1].lower()}{message[1:]}{fix}"
