"""`smsweep rm`, `retry` and `recover`: remove sweeps, queue trials again, rebuild a lost sweep."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from smsweep.cli.commands.sweep import existing_file
from smsweep.cli.options import Backend, Config, Job, Json, Labels, Name, Program, Seed
from smsweep.cli.output import print_json, print_message, print_result
from smsweep.cli.text import agent_command
from smsweep.services import recover as recover_service
from smsweep.services.sweeps import control
from smsweep.services.views import json_views

RM_EXAMPLES = """
smsweep rm abcd1234/3
smsweep rm abcd1234/3 abcd1234/5
smsweep rm -y abcd1234
"""
RETRY_EXAMPLES = """
smsweep retry abcd1234/3
smsweep retry abcd1234 --failed
"""
RECOVER_EXAMPLES = """
smsweep recover abcd1234 sweep.yaml
smsweep recover abcd1234 sweep.yaml --job job.yaml --backend sagemaker
"""


def rm(
    labels: Labels,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    as_json: Json = False,
) -> None:
    """Remove trials or whole sweeps.

    Deletes their logs, models and checkpoints on this machine, but keeps W&B runs that were never synced. Asks for
    confirmation on a terminal. A grid proposes the cell of a removed trial again: to run it, resume the sweep and
    start an agent.
    """
    if not yes and sys.stdin.isatty():
        typer.confirm(f"Remove {', '.join(labels)} with all results?", abort=True, err=True)
    removed = control.remove(labels)
    if as_json:
        print_json(removed)
    else:
        for label in removed:
            print_result(label)
    for sweep_id in dict.fromkeys(label.partition("/")[0] for label in removed if "/" in label):
        which = (
            "those grid cells again" if json_views.show(sweep_id)["method"] == "grid" else "other trials instead"
        )
        print_message(f"to run {which}: smsweep sweep --resume {sweep_id}; smsweep agent {sweep_id}")


def retry(
    labels: Labels,
    failed: Annotated[
        bool, typer.Option("--failed", help="Retry all failed and crashed trials of the sweeps.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Queue failed or stopped trials again.

    Returns failed, crashed, stopped or killed trials to the queue, with the same params. Finished trials never
    repeat. If the sweep has ended, resume it; then start an agent.
    """
    trials = control.retry(labels, failed=failed)
    if as_json:
        print_json([trial.label for trial in trials])
    else:
        for trial in trials:
            print_result(trial.label)
    if not trials:
        print_message("no trial to retry")
    for sweep_id in dict.fromkeys(trial.sweep_id for trial in trials):
        print_message(f"to run them: smsweep sweep --resume {sweep_id}; smsweep agent {sweep_id}")


def recover(
    sweep_id: Annotated[
        str, typer.Argument(metavar="ID", help="The id of the lost sweep, as in the names of its jobs.")
    ],
    config: Config,
    name: Name = None,
    program: Program = None,
    job: Job = None,
    seed: Seed = None,
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Rebuild a lost sweep from its jobs.

    Use it when the store was lost. Give the files and options that the sweep was created with. Each job carries
    the params of its trial, so `smsweep agent ID` then reads the logs and continues the sweep. This command starts
    and stops no job.
    """
    recovered = recover_service.recover(
        sweep_id, existing_file(config), program=program, job=job, backend=backend, name=name, seed=seed
    )
    if as_json:
        print_json({"id": recovered.sweep_id, "trials": recovered.n_trials, "lost": recovered.n_lost})
    else:
        print_result(recovered.sweep_id)
    lost = f"; {recovered.n_lost} trials without a job are lost" if recovered.n_lost else ""
    print_message(f"found the jobs of {recovered.n_trials} trials{lost}")
    print_message(f"read the results and continue with: {agent_command(recovered.sweep_id, backend)}")
