"""`smsweep wandb-sync`: upload what trials wrote for W&B without its server."""

from __future__ import annotations

from smsweep.cli.options import Entity, Json, Label, Project
from smsweep.cli.output import answer, answer_json, say
from smsweep.services.wandb import sync as wandb_sync_service

EXAMPLES = """
smsweep wandb-sync abcd1234
smsweep wandb-sync abcd1234/7 --project digits --entity team
"""


def wandb_sync(label: Label, project: Project = None, entity: Entity = None, as_json: Json = False) -> None:
    """Upload a sweep's offline W&B runs, by `wandb sync`.

    Prints the folders uploaded. Needs W&B's client and a key for its server; what was uploaded before is passed
    over.
    """
    folders = [str(folder) for folder in wandb_sync_service.sync(label, project=project, entity=entity)]
    if as_json:
        answer_json({"uploaded": folders})
    else:
        for folder in folders:
            answer(folder)
    if not folders:
        say("all of it was uploaded before")
