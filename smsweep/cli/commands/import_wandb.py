"""`smsweep import-wandb`: go on here with a sweep of W&B's."""

from __future__ import annotations

from typing import Annotated

import typer

from smsweep.cli.options import Entity, Job, Json, Name, Program, Project, Seed
from smsweep.cli.output import answer, answer_json, say
from smsweep.services.wandb import import_sweep as import_wandb_service

EXAMPLES = """
smsweep import-wandb team/digits/abcd1234
smsweep import-wandb team/digits/abcd1234 --job job.yaml --program train.py
"""


def import_wandb(
    path: Annotated[
        str, typer.Argument(metavar="ENTITY/PROJECT/ID", help="A sweep on W&B's server, or its page's address.")
    ],
    project: Project = None,
    entity: Entity = None,
    name: Name = None,
    program: Program = None,
    job: Job = None,
    seed: Seed = None,
    as_json: Json = False,
) -> None:
    """Create a sweep from one of W&B's, its runs as prior ones.

    Prints the new sweep's id. The search knows the results of the runs; a grid leaves out the cells they cover.
    The sweep on W&B's server stays as it is.
    """
    sweep_id, n_runs = import_wandb_service.import_sweep(
        path, project=project, entity=entity, name=name, program=program, job=job, seed=seed
    )
    if as_json:
        answer_json({"id": sweep_id, "prior_runs": n_runs})
    else:
        answer(sweep_id)
    say(f"it knows {n_runs} runs of {path}; run its trials with: smsweep agent {sweep_id}")
