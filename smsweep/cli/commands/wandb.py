"""`smsweep wandb import`: continue a sweep from W&B's server."""

from __future__ import annotations

from typing import Annotated

import typer

from smsweep.cli.options import Entity, Job, Json, Label, Name, Program, Project, Seed
from smsweep.cli.output import print_json, print_message, print_result
from smsweep.services.wandb import import_sweep as import_service
from smsweep.services.wandb import sync as sync_service

WANDB_IMPORT_EXAMPLES = """
smsweep wandb import team/digits/abcd1234
smsweep wandb import team/digits/abcd1234 --job job.yaml --program train.py
"""
WANDB_SYNC_EXAMPLES = """
smsweep wandb sync abcd1234
smsweep wandb sync abcd1234/7 --project digits --entity team
"""


def wandb_import(
    path: Annotated[
        str, typer.Argument(metavar="ENTITY/PROJECT/ID", help="A sweep on W&B's server, or the URL of its page.")
    ],
    project: Project = None,
    entity: Entity = None,
    name: Name = None,
    program: Program = None,
    job: Job = None,
    seed: Seed = None,
    as_json: Json = False,
) -> None:
    """Create a sweep from a sweep on W&B's server.

    Prints the id of the new sweep. The runs of the W&B sweep become prior runs: the search uses their results, and
    a grid skips the cells that they cover. The sweep on W&B's server does not change.
    """
    sweep_id, n_runs = import_service.import_sweep(
        path, project=project, entity=entity, name=name, program=program, job=job, seed=seed
    )
    if as_json:
        print_json({"id": sweep_id, "prior_runs": n_runs})
    else:
        print_result(sweep_id)
    print_message(f"imported {n_runs} runs of {path}; run trials with: smsweep agent {sweep_id}")


def wandb_sync(label: Label, project: Project = None, entity: Entity = None, as_json: Json = False) -> None:
    """Upload the offline W&B runs of a sweep.

    Prints the uploaded folders. Needs the wandb package and a W&B API key. Skips runs that were uploaded before.
    """
    folders = [str(folder) for folder in sync_service.sync(label, project=project, entity=entity)]
    if as_json:
        print_json({"uploaded": folders})
    else:
        for folder in folders:
            print_result(folder)
    if not folders:
        print_message("nothing to upload: all offline runs were uploaded before")
