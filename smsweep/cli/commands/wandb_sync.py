"""`smsweep wandb sync`: upload the W&B runs that trials wrote offline."""

from __future__ import annotations

from smsweep.cli.options import Entity, Json, Label, Project
from smsweep.cli.output import print_json, print_message, print_result
from smsweep.services.wandb import sync as sync_service

EXAMPLES = """
smsweep wandb sync abcd1234
smsweep wandb sync abcd1234/7 --project digits --entity team
"""


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
