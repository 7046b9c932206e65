"""Arguments and options that several verbs share, each said once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from smsweep.cli.logging_setup import QUIET, set_level
from smsweep.errors import SmsweepError


def _set_verbosity(count: int) -> int:
    if count:
        set_level(count)
    return count


def _set_quiet(is_quiet: bool) -> bool:
    if is_quiet:
        set_level(QUIET)
    return is_quiet


def _set_debug(is_debug: bool) -> bool:
    if is_debug:
        os.environ["SMSWEEP_DEBUG"] = "1"
    return is_debug


def complete_id(incomplete: str) -> list[tuple[str, str]]:
    """Return the sweeps that a half-typed id may mean, for a shell's completion; never an error there."""
    from smsweep.services.views import json_views  # here: it is slow to load, and `--help` needs none of it

    try:
        sweeps = json_views.list_sweeps()
    except SmsweepError:
        return []
    return [
        (sweep["id"], f"{sweep['state']} {sweep['name']}")
        for sweep in sweeps
        if sweep["id"].startswith(incomplete)
    ]


def one_of(words: Iterable[str]) -> Callable[[str], list[str]]:
    """Return what completes a half-typed word of a few."""
    return lambda incomplete: [word for word in words if word.startswith(incomplete)]


def complete_backend(incomplete: str) -> list[str]:
    """Return the names of backends that start with `incomplete`, for a shell's completion."""
    from smsweep.backends.registry import backend_names  # slow to import, and `--help` does not need it

    return [name for name in backend_names() if name.startswith(incomplete)]


def whole_id(text: str | None) -> str | None:
    """Take the beginning of a sweep's id for the id."""
    from smsweep.services import labels  # here: it is slow to load, and `--help` needs none of it

    return labels.whole(text) if text and len(text.split("/")[0]) < 8 else text


def whole_ids(texts: Any) -> list[str]:  # a list of str, which typer would take for a class on Python 3.10
    return [whole_id(text) or text for text in texts]


Verbose = Annotated[
    int,
    typer.Option(
        "--verbose",
        "-v",
        count=True,
        callback=_set_verbosity,
        show_default=False,
        help="Say more; twice: everything.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", callback=_set_quiet, help="Say nothing but errors.")]
Debug = Annotated[
    bool, typer.Option("--debug", callback=_set_debug, help="Show the traceback of an error (or SMSWEEP_DEBUG=1).")
]
Json = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="A W&B sweep YAML.")]
SweepId = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        callback=whole_id,
        autocompletion=complete_id,
        help="A sweep: ID, PROJECT/ID or ENTITY/PROJECT/ID.",
    ),
]
OptionalSweepId = Annotated[
    str | None,
    typer.Argument(
        metavar="ID",
        callback=whole_id,
        autocompletion=complete_id,
        help="A sweep: ID, PROJECT/ID or ENTITY/PROJECT/ID.",
    ),
]
TrialLabel = Annotated[
    str,
    typer.Argument(
        metavar="ID/N",
        callback=whole_id,
        autocompletion=complete_id,
        help="A trial: its sweep's id and its number.",
    ),
]
Label = Annotated[
    str,
    typer.Argument(
        metavar="ID[/N]", callback=whole_id, autocompletion=complete_id, help="A sweep, or a trial of one."
    ),
]
Labels = Annotated[
    list[str],
    typer.Argument(
        metavar="ID[/N]...", callback=whole_ids, autocompletion=complete_id, help="Trials, or whole sweeps."
    ),
]

Project = Annotated[str | None, typer.Option("--project", "-p", help="The sweep's project.")]
Entity = Annotated[str | None, typer.Option("--entity", "-e", help="The sweep's entity: a user or a team.")]
Name = Annotated[str | None, typer.Option("--name", help="The sweep's name in lists.")]
Program = Annotated[str | None, typer.Option("--program", help="The program to run instead of the config's.")]
Job = Annotated[Path | None, typer.Option("--job", metavar="FILE", help="A job.yaml: how each trial's job runs.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Of all chance in the search; drawn if not given.")]
PriorRuns = Annotated[
    list[str] | None,
    typer.Option(
        "--prior-run",
        "--prior_run",  # W&B's spelling
        "-R",
        metavar="ID[/N]|CSV",
        help="An earlier trial, a sweep, or a CSV file of runs, whose results inform the search; may be repeated.",
    ),
]
Reuse = Annotated[
    bool,
    typer.Option("--reuse", help="Take results of earlier sweeps for trials that would only repeat them."),
]

Count = Annotated[int | None, typer.Option("--count", min=1, help="Start at most so many trials, then leave.")]
Parallel = Annotated[int, typer.Option("--parallel", min=1, help="Trials at once.")]
Backend = Annotated[
    str | None,
    typer.Option(
        "--backend",
        autocompletion=complete_backend,
        help="What runs the jobs: process (default), docker, sagemaker, batch; or SMSWEEP_BACKEND.",
    ),
]
MaxConsecutiveFailedRuns = Annotated[
    int | None,
    typer.Option("--max-consecutive-failed-runs", min=1, help="Give up once so many trials in a row failed."),
]
Notify = Annotated[
    list[str] | None,
    typer.Option(
        "--notify",
        metavar="URL|CMD",
        help="Tell a webhook (or env:NAME that holds its URL) or a command of the end and the first failure.",
    ),
]
ForwardSignals = Annotated[
    bool,
    typer.Option(
        "--forward-signals", "-f", help="Accepted as W&B's; here a second Ctrl-C always reaches the scripts."
    ),
]
TermTimeout = Annotated[
    int | None,
    typer.Option(
        "--term-timeout",
        "-t",
        metavar="S",
        min=1,
        help="Seconds from SIGTERM to SIGKILL of scripts on this machine that are told to end; by default 120.",
    ),
]
Detach = Annotated[
    bool,
    typer.Option(
        "--detach",
        help="Leave the agent behind: with --backend sagemaker as a training job (beta), else as a process here.",
    ),
]


class Where(str, Enum):
    HERE = "here"
    SAGEMAKER = "sagemaker"
    S3 = "s3"  # nowhere yet: whoever finds its store there may start it


DetachTo = Annotated[
    Where | None,
    typer.Option("--detach-to", help="The same, and say where; --detach=WHERE is short for it."),
]
