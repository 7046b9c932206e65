"""`smsweep retry`: have trials run again."""

from __future__ import annotations

from typing import Annotated

import typer

from smsweep.cli.options import Json, Labels
from smsweep.cli.output import answer, answer_json, say
from smsweep.services.sweeps import control

EXAMPLES = """
smsweep retry abcd1234/3
smsweep retry abcd1234 --failed
"""


def retry(
    labels: Labels,
    failed: Annotated[bool, typer.Option("--failed", help="All failed and crashed trials of the sweeps.")] = False,
    as_json: Json = False,
) -> None:
    """Have trials run again, with the same params.

    Failed, crashed, stopped or killed ones go back into the queue; finished ones never repeat. Resume the
    sweep if it has ended, and start an agent.
    """
    trials = control.retry(labels, failed=failed)
    if as_json:
        answer_json([trial.label for trial in trials])
    else:
        for trial in trials:
            answer(trial.label)
    if not trials:
        say("nothing to run again")
    for sweep_id in dict.fromkeys(trial.sweep_id for trial in trials):
        say(f"to run them: smsweep sweep --resume {sweep_id}; smsweep agent {sweep_id}")
