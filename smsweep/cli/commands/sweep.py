"""`smsweep sweep`: create a sweep, or change the state of one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from smsweep.cli.options import Entity, Job, Json, Name, PriorRuns, Program, Project, Quiet, Reuse, Seed, Verbose
from smsweep.cli.output import answer, answer_json, say
from smsweep.errors import UsageError
from smsweep.services.sweeps import control
from smsweep.services.sweeps import create as create_service
from smsweep.services.views import json_views

EXAMPLES = """
smsweep sweep sweep.yaml
smsweep sweep sweep.yaml --job job.yaml --project digits --seed 42
smsweep sweep sweep.yaml -R abcd1234
smsweep sweep --pause abcd1234
smsweep sweep --resume abcd1234
"""


def sweep(
    config_or_id: Annotated[str, typer.Argument(metavar="CONFIG|ID", help="A W&B sweep YAML, or a sweep's id.")],
    project: Project = None,
    entity: Entity = None,
    name: Name = None,
    program: Program = None,
    job: Job = None,
    seed: Seed = None,
    prior_runs: PriorRuns = None,
    reuse: Reuse = False,
    pause: Annotated[bool, typer.Option("--pause", help="Start no new trials until resumed.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on, from any state.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Start no new trials; running ones may end.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Start no new trials and kill running ones.")] = False,
    update: Annotated[str | None, typer.Option("--update", hidden=True)] = None,
    controller: Annotated[bool, typer.Option("--controller", hidden=True)] = False,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Create a sweep, or pause, resume, stop, cancel one.

    Prints the id. Nothing runs yet: that is `smsweep agent ID`, or `smsweep run` for both. The folder of the
    program is snapshotted now: editing it later changes nothing for this sweep.
    """
    flags = {"pause": pause, "resume": resume, "stop": stop, "cancel": cancel}
    verbs = [verb for verb, is_given in flags.items() if is_given]
    if len(verbs) > 1:
        raise UsageError(f"--{verbs[0]} and --{verbs[1]} contradict each other; give one of them")
    if update is not None:
        raise UsageError(
            "--update: a sweep's config never changes once created; "
            f"create another that builds on its results: smsweep sweep {config_or_id} --prior-run {update}"
        )
    if verbs:
        change_state(config_or_id, verbs[0], as_json=as_json)
        return
    sweep_id = create(
        config_or_id,
        project=project,
        entity=entity,
        name=name,
        program=program,
        job=job,
        seed=seed,
        prior_runs=prior_runs,
        reuse=reuse,
    )
    if as_json:
        answer_json(json_views.show(sweep_id))
    else:
        answer(sweep_id)
    say(f"Creating sweep with ID: {sweep_id}")  # W&B's words, which scripts that start agents look for
    say(f"run its trials with: smsweep agent {sweep_id}")


def create(config: str | Path, **options: Any) -> str:
    """Create a sweep and return its id. Raises UsageError for no such file.

    options: as for `sdk.create.sweep`.
    """
    return create_service.sweep(existing(config), **options)


def existing(config: str | Path) -> Path:
    """Return the path of a config. Raises UsageError, with a guess at what was meant, for no such file."""
    path = Path(config)
    if path.is_fifo() or path.is_char_device():
        raise UsageError(
            f"{config}: is a pipe or a device; save the config as a file, which the sweep's source is beside"
        )
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "no such file"
        raise UsageError(
            f"{config}: {found}; expected a W&B sweep YAML (`smsweep sweep` also takes the id of a sweep, "
            "with one of --pause, --resume, --stop, --cancel)"
        )
    return path


def change_state(sweep_id: str, verb: str, *, as_json: bool) -> None:
    changed = control.set_state(sweep_id, verb)
    if as_json:
        answer_json(json_views.show(changed.id))
    else:
        answer(changed.id)
    say(f"sweep {changed.id} is {changed.state.value}")
    if verb == "resume":
        say(f"run its trials with: smsweep agent {changed.id}")
