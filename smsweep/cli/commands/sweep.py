"""`smsweep sweep`: create a sweep, or change its state."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from smsweep.cli.options import (
    Entity,
    InPlace,
    Job,
    Json,
    Name,
    PriorRuns,
    Program,
    Project,
    Quiet,
    Reuse,
    Seed,
    Verbose,
    complete_id,
    find_config,
)
from smsweep.cli.output import print_json, print_message, print_result
from smsweep.errors import UsageError
from smsweep.services.agents import detach
from smsweep.services.labels import full_label
from smsweep.services.sweeps import create as create_service
from smsweep.services.sweeps.load import TunerSweep
from smsweep.services.views import json_views
from smsweep.services.workspace import Workspace

SWEEP_EXAMPLES = """
smsweep sweep sweep.yaml
smsweep sweep sweep.yaml --job job.yaml --project digits --seed 42
smsweep sweep sweep.yaml -R abcd1234
smsweep sweep sweep.yaml -R tuning-job/NAME
smsweep sweep --from-tuner NAME
smsweep sweep --from-tuner request.json --print
smsweep sweep --pause abcd1234
smsweep sweep --resume abcd1234
"""
MIN_PREFIX = 6  # characters of an id that may be cancelled


def sweep(
    config_or_id: Annotated[
        str,
        typer.Argument(
            metavar="CONFIG|ID",
            autocompletion=complete_id,
            show_default="sweep.yaml",
            help="A W&B sweep YAML, or the id or name of a sweep.",
        ),
    ] = "",
    project: Project = None,
    entity: Entity = None,
    name: Name = None,
    program: Program = None,
    job: Job = None,
    seed: Seed = None,
    prior_runs: PriorRuns = None,
    reuse: Reuse = False,
    in_place: InPlace = None,
    from_tuner: Annotated[
        str | None,
        typer.Option(
            "--from-tuner",
            metavar="NAME|FILE",
            help="Create the sweep of a SageMaker tuning job: its name, or a JSON file with its request.",
        ),
    ] = None,
    prints: Annotated[
        bool,
        typer.Option("--print", help="With --from-tuner: write sweep.yaml and job.yaml, and create nothing."),
    ] = False,
    pause: Annotated[bool, typer.Option("--pause", help="Start no new trials until --resume.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the sweep, from any state.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Start no new trials; running trials finish.")] = False,
    cancel: Annotated[
        bool,
        typer.Option(
            "--cancel", help="Start no new trials and stop running trials. Repeat it to kill them at once."
        ),
    ] = False,
    update: Annotated[str | None, typer.Option("--update", hidden=True)] = None,
    controller: Annotated[bool, typer.Option("--controller", hidden=True)] = False,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Create a sweep, or pause, resume, stop or cancel one.

    Prints the id and starts nothing. Run the trials with `smsweep agent ID`; `smsweep run` does both. The folder
    of the program is copied now: later edits do not affect this sweep. --from-tuner creates the sweep of a
    SageMaker tuning job, whose parameters, job settings, seed and parents it uses.
    """
    flags = {"pause": pause, "resume": resume, "stop": stop, "cancel": cancel}
    verbs = [verb for verb, is_set in flags.items() if is_set]
    if len(verbs) > 1:
        raise UsageError(f"--{verbs[0]} and --{verbs[1]}: these options contradict each other; give one of them")
    if update is not None:
        raise UsageError(
            f"--update: set the changed keys of sweep {update}, such as: smsweep set {update} run_cap=200; or "
            f"create a sweep that uses its results: smsweep sweep {config_or_id} --prior-run {update}"
        )
    if verbs and not config_or_id:
        raise UsageError(f"--{verbs[0]}: the sweep is missing; write: smsweep sweep --{verbs[0]} ID")
    if verbs:
        change_state(config_or_id, verbs[0], as_json=as_json)
        return
    if prints and from_tuner is None:
        raise UsageError("--print: needs --from-tuner; `smsweep plan` shows the trials of a sweep.yaml")
    made = None
    if from_tuner is not None:
        if config_or_id or job:
            raise UsageError(
                f"--from-tuner and {config_or_id or '--job'}: the tuning job has its own config; remove one"
            )
        if prints and as_json:
            raise UsageError("--print and --json: --print writes files and prints their names; remove --json")
        from smsweep.services.sweeps.tuning_jobs import read_tuner  # boto3 is slow to import

        made = read_tuner(from_tuner, None, os.environ)
        if prints:
            _write_files(made, program)
            return
    options: dict[str, Any] = {
        "project": project,
        "entity": entity,
        "name": name,
        "program": program,
        "seed": seed,
        "prior_runs": prior_runs,
        "reuse": reuse,
        "in_place": in_place,
    }
    if made is not None:
        sweep_id = create_service.sweep(tuner=made, **options)
    else:
        sweep_id = create(config_or_id or find_config("smsweep sweep"), job=job, **options)
    if as_json:
        print_json(json_views.show(sweep_id))
    else:
        print_result(sweep_id)
    print_message(f"Creating sweep with ID: {sweep_id}")  # the message of W&B, which scripts parse
    print_message(f"run trials with: smsweep agent {sweep_id}{_agent_options(made)}")


def _agent_options(made: TunerSweep | None) -> str:
    """Return the options of an agent that runs the trials of a tuning job as SageMaker does."""
    if made is None:
        return ""
    return " --backend sagemaker" + (f" --parallel {made.max_parallel}" if made.max_parallel > 1 else "")


def _write_files(made: TunerSweep, program: str | None) -> None:
    """Write the files of a tuning job, and print the command that creates the sweep."""
    from smsweep.services.sweeps.tuning_jobs import write_files  # boto3 is slow to import

    for path in write_files(made, os.environ, program=program):
        print_result(str(path))
    seed = "" if made.seed is None else f" --seed {made.seed}"
    priors = "".join(f" -R {prior}" for prior in made.prior_runs)
    print_message(f"create the sweep with: smsweep sweep sweep.yaml --job job.yaml{seed}{priors}")
    print_message(f"run trials with: smsweep agent ID{_agent_options(made)}")


def create(config: str | Path, **options: Any) -> str:
    """Create a sweep.

    Args:
        config: The path of a W&B sweep YAML.
        options: Keyword arguments of `services.sweeps.create.sweep`.

    Returns:
        The id of the sweep.

    Raises:
        UsageError: If the file does not exist.
    """
    sweep_id = create_service.sweep(existing_file(config), **options)
    folder = Workspace().dir
    if not os.environ.get("SMSWEEP_DIR") and folder.parent != Path.cwd():
        print_message(f"the sweep is stored in {folder}, which was found above this folder")
    return sweep_id


def existing_file(config: str | Path) -> Path:
    """Return the path of a config.

    Raises:
        UsageError: If the path is not a regular file.
    """
    path = Path(config)
    if path.is_fifo() or path.is_char_device():
        raise UsageError(f"{config}: is a pipe or a device; save the config as a file beside the script")
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "no such file"
        raise UsageError(
            f"{config}: {problem}; expected a W&B sweep YAML (`smsweep sweep` also accepts the id of a sweep, "
            "with --pause, --resume, --stop or --cancel)"
        )
    return path


def change_state(sweep_id: str, verb: str, *, as_json: bool) -> None:
    sweep_id = full_label(sweep_id, min_prefix=MIN_PREFIX)
    before = json_views.show(sweep_id) if verb == "cancel" else None
    changed = detach.set_state(sweep_id, verb)
    if as_json:
        print_json(json_views.show(changed.id))
    else:
        print_result(changed.id)
    print_message(f"sweep {changed.id} is {changed.state.value}")
    if verb == "resume":
        print_message(f"run trials with: smsweep agent {changed.id}")
    n_active = sum(before["trials"].get(state, 0) for state in ("running", "stopping")) if before else 0
    if before and n_active:
        ends = "SIGTERM now, SIGKILL after the grace period"
        command = f"; kill them now with: smsweep sweep --cancel {changed.id}"
        if before["state"] == "cancelled":
            ends, command = "SIGKILL now", ""
        print_message(f"{n_active} running {'trial' if n_active == 1 else 'trials'}: {ends}{command}")
