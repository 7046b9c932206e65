"""Arguments and options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from smsweep.cli.streams import QUIET, set_level
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
    """Return the sweeps whose id starts with a text, for shell completion; empty if the store cannot be read."""
    from smsweep.services.views import json_views  # slow to import, and `--help` does not need it

    try:
        sweeps = json_views.list_sweeps()
    except SmsweepError:
        return []
    return [
        (sweep["id"], f"{sweep['state']} {sweep['name']}")
        for sweep in sweeps
        if sweep["id"].startswith(incomplete)
    ]


def complete_from(values: Iterable[str]) -> Callable[[str], list[str]]:
    """Return a shell completion that offers these values."""
    return lambda incomplete: [value for value in values if value.startswith(incomplete)]


def complete_backend(incomplete: str) -> list[str]:
    """Return the names of backends that start with `incomplete`, for a shell's completion."""
    from smsweep.backends.registry import backend_names  # slow to import, and `--help` does not need it

    return [name for name in backend_names() if name.startswith(incomplete)]


def whole_id(text: str | None) -> str | None:
    """Return a label with the id prefix replaced by the whole sweep id."""
    from smsweep.services import labels  # slow to import, and `--help` does not need it

    return labels.full_label(text) if text and len(text.split("/")[0]) < 8 else text


def whole_ids(texts: Any) -> list[str]:  # not list[str], which typer treats as a class on Python 3.10
    return [whole_id(text) or text for text in texts]


Verbose = Annotated[
    int,
    typer.Option(
        "--verbose",
        "-v",
        count=True,
        callback=_set_verbosity,
        show_default=False,
        help="Log more; give it twice for debug output.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", callback=_set_quiet, help="Print only errors.")]
Debug = Annotated[
    bool,
    typer.Option("--debug", callback=_set_debug, help="Print the traceback of an error (or SMSWEEP_DEBUG=1)."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

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
        help="A trial: the id of its sweep and its number.",
    ),
]
Label = Annotated[
    str,
    typer.Argument(metavar="ID[/N]", callback=whole_id, autocompletion=complete_id, help="A sweep or a trial."),
]
Labels = Annotated[
    list[str],
    typer.Argument(
        metavar="ID[/N]...", callback=whole_ids, autocompletion=complete_id, help="Trials or whole sweeps."
    ),
]

Project = Annotated[str | None, typer.Option("--project", "-p", help="Project of the sweep.")]
Entity = Annotated[str | None, typer.Option("--entity", "-e", help="Entity of the sweep: a user or a team.")]
Name = Annotated[str | None, typer.Option("--name", help="Name of the sweep in lists.")]
Program = Annotated[
    str | None, typer.Option("--program", help="Run this program instead of the one in the config.")
]
Job = Annotated[
    Path | None, typer.Option("--job", metavar="FILE", help="A job.yaml: the settings of each training job.")
]
Seed = Annotated[int | None, typer.Option("--seed", help="Random seed for the search (default: random).")]
PriorRuns = Annotated[
    list[str] | None,
    typer.Option(
        "--prior-run",
        "--prior_run",  # W&B's spelling
        "-R",
        metavar="ID[/N]|CSV",
        help="An earlier trial, sweep, or CSV file of runs whose results inform the search; repeatable.",
    ),
]
Reuse = Annotated[
    bool,
    typer.Option("--reuse", help="Copy results from earlier sweeps instead of running identical trials again."),
]

Count = Annotated[int | None, typer.Option("--count", min=1, help="Start at most this many trials, then exit.")]
Parallel = Annotated[int, typer.Option("--parallel", min=1, help="Number of trials to run at the same time.")]
Backend = Annotated[
    str | None,
    typer.Option(
        "--backend",
        autocompletion=complete_backend,
        help="Where jobs run: process (default), docker, sagemaker or batch (or SMSWEEP_BACKEND).",
    ),
]
MaxConsecutiveFailedRuns = Annotated[
    int | None,
    typer.Option("--max-consecutive-failed-runs", min=1, help="Stop after this many failed trials in a row."),
]
Notify = Annotated[
    list[str] | None,
    typer.Option(
        "--notify",
        metavar="URL|CMD",
        help="Webhook URL (or env:NAME) or command to notify at the end and at the first failure; repeatable.",
    ),
]
ForwardSignals = Annotated[
    bool,
    typer.Option(
        "--forward-signals",
        "-f",
        help="Accepted for compatibility with W&B; a second Ctrl-C always reaches the scripts.",
    ),
]
TermTimeout = Annotated[
    int | None,
    typer.Option(
        "--term-timeout",
        "-t",
        metavar="S",
        min=1,
        help="Seconds between SIGTERM and SIGKILL for scripts on this machine (default: 120).",
    ),
]
Detach = Annotated[
    bool,
    typer.Option(
        "--detach",
        help="Run the agent in the background, as a training job (beta) with --backend sagemaker, else a process.",
    ),
]


class Where(str, Enum):
    HERE = "here"
    SAGEMAKER = "sagemaker"
    S3 = "s3"  # only the store moves to S3; the user starts the agent


DetachTo = Annotated[
    Where | None,
    typer.Option(
        "--detach-to", help="Like --detach, with the place of the agent; --detach=WHERE is the short form."
    ),
]
