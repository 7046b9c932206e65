"""`smsweep rm`: take trials or sweeps out."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from smsweep.cli.options import Json, Labels
from smsweep.cli.output import answer, answer_json, say
from smsweep.services.sweeps import control
from smsweep.services.views import json_views

EXAMPLES = """
smsweep rm abcd1234/3
smsweep rm abcd1234/3 abcd1234/5
smsweep rm -y abcd1234
"""


def rm(
    labels: Labels,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Take out trials or delete whole sweeps.

    With their logs, models and checkpoints on this machine; W&B runs that were never synced are kept. Asks first
    on a terminal. The grid cell of a removed trial is offered again: resume the sweep and start an agent to run
    exactly that cell.
    """
    if not yes and sys.stdin.isatty():
        typer.confirm(f"Remove {', '.join(labels)} with all results?", abort=True, err=True)
    removed = control.remove(labels)
    if as_json:
        answer_json(removed)
    else:
        for label in removed:
            answer(label)
    for sweep_id in dict.fromkeys(label.partition("/")[0] for label in removed if "/" in label):
        which = "those cells again" if json_views.show(sweep_id)["method"] == "grid" else "others in their place"
        say(f"to run {which}: smsweep sweep --resume {sweep_id}; smsweep agent {sweep_id}")
