"""The `smsweep` command: its verbs, and how every error ends."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from smsweep import __version__
from smsweep.cli import (
    agent,
    auth,
    best,
    completion,
    diff,
    doctor,
    endpoint,
    export,
    iam,
    import_wandb,
    logs,
    ls,
    plan,
    publish,
    recover,
    report,
    reproduce,
    retry,
    rm,
    run,
    show,
    slurm,
    sweep,
    trials,
    ui,
    wandb_sync,
    watch,
    why,
)
from smsweep.cli.completion import COMPLETE_VAR
from smsweep.cli.options import Debug, Quiet, Verbose
from smsweep.cli.streams import guard
from smsweep.cli.talk import NORMAL, set_level
from smsweep.cli.text import clean_line
from smsweep.errors import NotInStore, SmsweepError

ISSUES = "https://github.com/smsweep/smsweep/issues"

EPILOG = """\b
Start here:  smsweep run sweep.yaml --parallel 2
Exit codes:  0 done, 1 error, 2 wrong config or usage, 3 trials failed, 130 Ctrl-C, 143 SIGTERM
Environment: SMSWEEP_DIR (default ./.smsweep), SMSWEEP_STORE, SMSWEEP_BACKEND, SMSWEEP_DEBUG, NO_COLOR
"""

# Plain help: rich's costs a fifth of a second. Completion is a verb here, so its two options only work unseen.
app = typer.Typer(
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    add_completion=COMPLETE_VAR in os.environ,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)

VERBS = (
    (run.run, run.EXAMPLES),
    (sweep.sweep, sweep.EXAMPLES),
    (agent.agent, agent.EXAMPLES),
    (watch.watch, watch.EXAMPLES),
    (plan.plan, plan.EXAMPLES),
    (ls.ls, ls.EXAMPLES),
    (show.show, show.EXAMPLES),
    (trials.trials, trials.EXAMPLES),
    (best.best, best.EXAMPLES),
    (why.why, why.EXAMPLES),
    (diff.diff, diff.EXAMPLES),
    (reproduce.reproduce, reproduce.EXAMPLES),
    (logs.logs, logs.EXAMPLES),
    (export.export, export.EXAMPLES),
    (report.report, report.EXAMPLES),
    (ui.ui, ui.EXAMPLES),
    (retry.retry, retry.EXAMPLES),
    (rm.rm, rm.EXAMPLES),
    (recover.recover, recover.EXAMPLES),
    (slurm.slurm, slurm.EXAMPLES),
    (publish.publish, publish.EXAMPLES),
    (import_wandb.import_wandb, import_wandb.EXAMPLES),
    (wandb_sync.wandb_sync, wandb_sync.EXAMPLES),
    (auth.auth, auth.EXAMPLES),
    (iam.iam, iam.EXAMPLES),
    (doctor.doctor, doctor.EXAMPLES),
    (endpoint.endpoint, endpoint.EXAMPLES),
    (completion.completion, completion.EXAMPLES),
)
for verb, examples in VERBS:
    lines = "\n".join(f"  {line}" for line in examples.strip().splitlines())
    app.command(epilog=f"\b\nExamples:\n{lines}", context_settings=app.info.context_settings)(verb)


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
