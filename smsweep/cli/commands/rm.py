"""`smsweep rm`: remove trials or sweeps."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from smsweep.cli.options import Json, Labels
from smsweep.cli.output import print_json, print_message, print_result
from smsweep.services.sweeps import control
from smsweep.services.views import json_views

EXAMPLES = """
smsweep rm abcd1234/3
smsweep rm abcd1234/3 abcd1234/5
smsweep rm -y abcd1234
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
