"""`smsweep recover`: a sweep whose store was lost, from its jobs."""

from __future__ import annotations

from typing import Annotated

import typer

from smsweep.cli.commands.sweep import existing
from smsweep.cli.options import Backend, Config, Job, Json, Name, Program, Seed
from smsweep.cli.output import answer, answer_json, say
from smsweep.cli.text import agent_command
from smsweep.services import recover as recover_service

EXAMPLES = """
smsweep recover abcd1234 sweep.yaml
smsweep recover abcd1234 sweep.yaml --job job.yaml --backend sagemaker
"""


def recover(
    sweep_id: Annotated[str, typer.Argument(metavar="ID", help="The lost sweep, as in its jobs' names.")],
    config: Config,
    name: Name = None,
    program: Program = None,
    job: Job = None,
    seed: Seed = None,
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Rebuild a sweep whose store was lost from its jobs.

    Give what it was created with. Each of its jobs carries its trial; `smsweep agent ID` then finds them, reads
    their logs, and goes on with the sweep. No job is started or ended by this.
    """
    found = recover_service.recover(
        sweep_id, existing(config), program=program, job=job, backend=backend, name=name, seed=seed
    )
    if as_json:
        answer_json({"id": found.sweep_id, "trials": found.n_trials, "lost": found.n_lost})
    else:
        answer(found.sweep_id)
    lost = f", {found.n_lost} had none and are lost" if found.n_lost else ""
    say(f"found the jobs of {found.n_trials} trials{lost}")
    say(f"read their results and go on: {agent_command(found.sweep_id, backend)}")
