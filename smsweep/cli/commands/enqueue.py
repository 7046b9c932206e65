"""`smsweep enqueue`: queue a trial with chosen params."""

from __future__ import annotations

from typing import Annotated

import typer

from smsweep.cli.options import Json, SweepId
from smsweep.cli.output import print_json, print_message, print_result
from smsweep.services.sweeps.enqueue import enqueue as enqueue_trial

ENQUEUE_EXAMPLES = """
smsweep enqueue abcd1234 layers=4 width=16
smsweep enqueue abcd1234 lr=0.01 optimizer.name=adam
"""


def enqueue(
    sweep_id: SweepId,
    params: Annotated[
        list[str], typer.Argument(metavar="NAME=VALUE...", help="Params of the trial. Values are YAML.")
    ],
    as_json: Json = False,
) -> None:
    """Queue a trial with params that you choose.

    The search method chooses the params that you leave out: grid the first free cell, other methods a random draw.
    Agents of the sweep run the trial before they propose others. The search uses its result. It counts as a trial
    of run_cap, but is also added if the cap is reached. A finished sweep is running again.
    """
    trials = enqueue_trial(sweep_id, params)
    if as_json:
        print_json([trial.label for trial in trials])
    else:
        for trial in trials:
            print_result(trial.label)
    print_message(f"an agent of the sweep runs it; start one with: smsweep agent {trials[0].sweep_id}")
