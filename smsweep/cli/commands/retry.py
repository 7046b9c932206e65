"""`smsweep retry`: queue trials again."""

from __future__ import annotations

from typing import Annotated

import typer

from smsweep.cli.options import Json, Labels
from smsweep.cli.output import print_json, print_message, print_result
from smsweep.services.sweeps import control

EXAMPLES = """
smsweep retry abcd1234/3
smsweep retry abcd1234 --failed
"""


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
