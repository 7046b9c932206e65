"""`smsweep recover`: rebuild a sweep whose store was lost."""

from __future__ import annotations

from typing import Annotated

import typer

from smsweep.cli.commands.sweep import existing
from smsweep.cli.options import Backend, Config, Job, Json, Name, Program, Seed
from smsweep.cli.output import print_json, print_message, print_result
from smsweep.cli.text import agent_command
from smsweep.services import recover as recover_service

EXAMPLES = """
smsweep recover abcd1234 sweep.yaml
smsweep recover abcd1234 sweep.yaml --job job.yaml --backend sagemaker
"""


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
        sweep_id, existing(config), program=program, job=job, backend=backend, name=name, seed=seed
    )
    if as_json:
        print_json({"id": recovered.sweep_id, "trials": recovered.n_trials, "lost": recovered.n_lost})
    else:
        print_result(recovered.sweep_id)
    lost = f"; {recovered.n_lost} trials without a job are lost" if recovered.n_lost else ""
    print_message(f"found the jobs of {recovered.n_trials} trials{lost}")
    print_message(f"read the results and continue with: {agent_command(recovered.sweep_id, backend)}")
