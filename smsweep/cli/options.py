"""Arguments and options that several commands share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from smsweep.cli.streams import QUIET, is_quiet, set_level, write_err
from smsweep.errors import SmsweepError, UsageError
from smsweep.util.terminal_text import clean


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
    """Return the sweeps whose id or name starts with a text, for shell completion.

    Empty if the store cannot be read. Names that several sweeps share are left out.
    """
    from smsweep.services.views import json_views  # slow to import, and `--help` does not need it

    try:
        sweeps = json_views.list_sweeps()
    except SmsweepError:
        return []
    names = [sweep["name"] for sweep in sweeps]
    labels = [(sweep["id"], f"{sweep['state']} {sweep['name']}") for sweep in sweeps]
    labels += [
        (sweep["name"], f"{sweep['state']} {sweep['id']}")
        for sweep in sweeps
        if sweep["name"].isprintable() and names.count(sweep["name"]) == 1
    ]
    return [(label, about) for label, about in labels if label.startswith(incomplete)]


def complete_prior(incomplete: str) -> list[tuple[str, str]]:
    """Return the prior runs that start with a text, for shell completion: sweeps, and `tuning-job/`."""
    prefix = [("tuning-job/", "a tuning job of SageMaker")] if "tuning-job/".startswith(incomplete) else []
    return [*complete_id(incomplete), *prefix]


def complete_from(values: Iterable[str]) -> Callable[[str], list[str]]:
    """Return a shell completion that offers these values."""
    return lambda incomplete: [value for value in values if value.startswith(incomplete)]


def complete_backend(incomplete: str) -> list[str]:
    """Return the names of backends that start with `incomplete`, for a shell's completion."""
    from smsweep.backends.registry import backend_names  # slow to import, and `--help` does not need it

    return [name for name in backend_names() if name.startswith(incomplete)]


def whole_id(text: str | None) -> str | None:
    """Return a label with the name or the id prefix of a sweep replaced by the whole id."""
    from smsweep.services import labels  # slow to import, and `--help` does not need it

    return labels.full_label(text) if text else text


def whole_ids(texts: Any) -> list[str]:  # not list[str], which typer treats as a class on Python 3.10
    return [whole_id(text) or text for text in texts]


def _or_newest(context: typer.Context, parameter: typer.CallbackParam, text: str) -> str:
    """Return the whole label; on a terminal, the newest sweep if the argument is missing."""
    if context.resilient_parsing:  # the shell completes a word
        return text
    if _is_explicit(context, parameter):
        return whole_id(text) or text
    name = f"{context.command_path} {parameter.metavar}"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):  # scripts must name the sweep
        raise UsageError(f"{context.command_path}: {parameter.metavar} is missing; write: {name}")
    from smsweep.services import labels  # slow to import, and `--help` does not need it

    sweep = labels.newest_sweep()
    if sweep is None:
        raise UsageError(f"{context.command_path}: no sweep yet; create a sweep with: smsweep run sweep.yaml")
    _note(f"newest sweep: {sweep.id}" + f" ({clean(sweep.name)})" * bool(sweep.name))
    return sweep.id


def default_config(context: typer.Context, parameter: typer.CallbackParam, config: Path) -> Path:
    """Return the config; sweep.yaml or sweep.yml if the argument is missing. A callback of arguments."""
    if context.resilient_parsing or _is_explicit(context, parameter):
        return config
    return find_config(context.command_path, str(parameter.metavar))


def find_config(command: str, metavar: str = "CONFIG") -> Path:
    """Return sweep.yaml or sweep.yml of this folder, and print which one.

    Args:
        command: The command that needs a config, for the error.
        metavar: Name of its argument.

    Raises:
        UsageError: If the folder has neither file.
    """
    for config in map(Path, CONFIGS):
        if config.exists():
            _note(f"config: {config}")
            return config
    raise UsageError(
        f"{command}: {metavar} is missing, and this folder has no {' or '.join(CONFIGS)}; "
        f"write: {command} {metavar}"
    )


def _is_explicit(context: typer.Context, parameter: typer.CallbackParam) -> bool:
    source = context.get_parameter_source(str(parameter.name))
    return source is not None and source.name != "DEFAULT"


def _note(text: str) -> None:
    if not is_quiet():
        write_err(text)


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


def _set_dir(folder: str | None) -> str | None:
    if folder is not None:
        os.environ["SMSWEEP_DIR"] = str(Path(os.path.expanduser(folder)).absolute())  # noqa: PTH111 - pathlib's raises where there is no home
    return folder


def _set_profile(profile: str | None) -> str | None:
    if profile is not None:
        os.environ["AWS_PROFILE"] = profile
    return profile


def _set_region(region: str | None) -> str | None:
    if region is not None:
        os.environ["AWS_REGION"] = os.environ["AWS_DEFAULT_REGION"] = region
    return region


# Eager: they apply before ids in other arguments are looked up. Child processes inherit the variables.
Dir = Annotated[
    str | None,
    typer.Option(
        "--dir",
        metavar="DIR",
        is_eager=True,
        callback=_set_dir,
        help="Folder of the store (or SMSWEEP_DIR; default: .smsweep of this folder or a parent folder).",
    ),
]
Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="NAME",
        is_eager=True,
        callback=_set_profile,
        help="AWS profile to use (or AWS_PROFILE).",
    ),
]
Region = Annotated[
    str | None,
    typer.Option(
        "--region", metavar="NAME", is_eager=True, callback=_set_region, help="AWS region to use (or AWS_REGION)."
    ),
]
WITHOUT_STORE = ("auth", "completion", "skill")  # commands without --dir
WITHOUT_AWS = ("completion", "emulator", "skill")  # commands without --profile and --region


def shared_options(command: str) -> list[Any]:
    """Return the options that a command has in common with others: --dir, --profile and --region.

    Args:
        command: A full name, such as "run" or "wandb sync".
    """
    app = typer.Typer(rich_markup_mode=None, add_completion=False)

    @app.command()
    def _(directory: Dir = None, profile: Profile = None, region: Region = None) -> None: ...

    excluded = {
        *(("--dir",) if command in WITHOUT_STORE else ()),
        *(("--profile", "--region") if command in WITHOUT_AWS else ()),
    }
    options = [option for option in typer.main.get_command(app).params if not excluded & {*option.opts}]
    for option in options:
        option.expose_value = False  # the callbacks do the work
    return options


Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="A W&B sweep YAML.")]
CONFIGS = ("sweep.yaml", "sweep.yml")  # used without CONFIG
SWEEP_YAML = Path(CONFIGS[0])
DefaultConfig = Annotated[
    Path, typer.Argument(metavar="CONFIG", callback=default_config, help="A W&B sweep YAML.")
]
NEWEST = "the newest sweep, on a terminal"
SweepId = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        callback=whole_id,
        autocompletion=complete_id,
        help="A sweep: its name, ID, PROJECT/ID or ENTITY/PROJECT/ID.",
    ),
]
NewestSweepId = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        callback=_or_newest,
        autocompletion=complete_id,
        show_default=NEWEST,
        help="A sweep: its name, ID, PROJECT/ID or ENTITY/PROJECT/ID.",
    ),
]
OptionalSweepId = Annotated[
    str | None,
    typer.Argument(
        metavar="ID",
        callback=whole_id,
        autocompletion=complete_id,
        help="A sweep: its name, ID, PROJECT/ID or ENTITY/PROJECT/ID.",
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
NewestLabel = Annotated[
    str,
    typer.Argument(
        metavar="ID[/N]",
        callback=_or_newest,
        autocompletion=complete_id,
        show_default=NEWEST,
        help="A sweep or a trial.",
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
        metavar="ID[/N]|CSV|tuning-job/NAME",
        autocompletion=complete_prior,
        help="An earlier trial, sweep, CSV file of runs, or SageMaker tuning job whose results inform the search; "
        "repeatable.",
    ),
]
Reuse = Annotated[
    bool,
    typer.Option("--reuse", help="Copy results from earlier sweeps instead of running identical trials again."),
]

InPlace = Annotated[
    bool | None,
    typer.Option(
        "--in-place/--no-in-place",
        show_default=False,
        help="Run processes in the source folder itself, like `wandb agent`, instead of a copy of it.",
    ),
]

Count = Annotated[int | None, typer.Option("--count", min=1, help="Start at most this many trials, then exit.")]


def _parallel(value: str | int) -> int | str:
    """Read a number of trials, or `auto`. typer passes the default too."""
    text = str(value)
    if text == "auto":
        return text
    try:
        number = int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a whole number; write digits, such as 1, or auto") from None
    if number < 1:
        raise typer.BadParameter(f"{number} is too small; use 1 or more, or auto")
    return number


# int, or "auto" for as many trials as fit this machine. typer accepts no unions.
Parallel = Annotated[
    Any,
    typer.Option(
        "--parallel",
        "-j",
        parser=_parallel,
        metavar="N|auto",
        help="Number of trials to run at the same time; auto: as many as fit the devices of this machine.",
    ),
]
GpusPerTrial = Annotated[
    float | None,
    typer.Option(
        "--gpus-per-trial",
        min=0,
        metavar="N",
        help="GPUs for each trial on this machine; a fraction such as 0.5 shares one (or resources_per_trial).",
    ),
]
Backend = Annotated[
    str | None,
    typer.Option(
        "--backend",
        autocompletion=complete_backend,
        help="Where jobs run: process (default), docker, slurm, sagemaker or batch (or SMSWEEP_BACKEND).",
    ),
]
On = Annotated[
    list[str] | None,
    typer.Option(
        "--on",
        metavar="PLACE[:SLOTS]",
        help="A place and its slots, such as local:2, slurm:8, sagemaker:spot:16, or a place in job.yaml; "
        "repeatable, in the order of preference.",
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
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.", show_default=False)]
Detach = Annotated[
    bool,
    typer.Option(
        "--detach",
        "-d",
        help="Run the agent in the background, as a training job (beta) with --backend sagemaker, else a process.",
    ),
]


class Where(str, Enum):
    THIS_MACHINE = "here"
    SAGEMAKER = "sagemaker"
    S3 = "s3"  # only the store moves to S3; the user starts the agent


DetachTo = Annotated[
    Where | None,
    typer.Option(
        "--detach-to", help="Like --detach, with the place of the agent; --detach=WHERE is the short form."
    ),
]
