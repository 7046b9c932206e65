"""`smsweep confirm` and `enqueue`: add trials that the search did not choose."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from smsweep.cli.options import Backend, Json, NewestSweepId, On, Parallel, SweepId, Yes
from smsweep.cli.output import print_json, print_message, print_result
from smsweep.cli.run_agent import follow
from smsweep.cli.text import counted
from smsweep.core.json_documents import ConfirmDocument
from smsweep.core.sweep import SweepState
from smsweep.services.sweeps import control
from smsweep.services.sweeps.enqueue import enqueue as enqueue_trial
from smsweep.services.views import json_views

CONFIRM_EXAMPLES = """
smsweep confirm abcd1234
smsweep confirm abcd1234 --top 3 --repeats 5 --run --parallel 4
"""
ENQUEUE_EXAMPLES = """
smsweep enqueue abcd1234 layers=4 width=16
smsweep enqueue abcd1234 lr=0.01 optimizer.name=adam
"""


def confirm(
    sweep_id: NewestSweepId = "",
    top: Annotated[int, typer.Option("--top", metavar="K", help="Number of best trials to repeat.")] = 5,
    repeats: Annotated[
        int, typer.Option("--repeats", metavar="N", help="Repeats of each of them, on average.")
    ] = 3,
    run: Annotated[
        bool, typer.Option("--run", help="Run the repeats now, and return when they have ended.")
    ] = False,
    parallel: Parallel = 1,
    backend: Backend = None,
    on: On = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Repeat the best trials with new seeds.

    `smsweep best` then compares means, because the value of the best of many noisy trials is partly luck. Agents
    of the sweep run at most K * N repeats. Each goes to the trial where it can change the result most, and
    none run once the result is clear. A script reads its repeat from SMSWEEP_REPEAT, and uses it as the seed. The
    repeats do not count as trials of run_cap, but the budget limits them. With --run, also resumes the sweep, and
    runs an agent for the repeats only.
    """
    before = json_views.show(sweep_id)["state"]
    asked = control.confirm(sweep_id, top=top, repeats=repeats)
    sweep = asked.sweep
    if run:
        where: dict[str, Any] = {"backend": backend, "on": tuple(on or ()), "parallel": parallel}
        if not (backend or on):
            where |= {"backend": asked.backend or None, "on": asked.on}
        with control.confirming(sweep.id, SweepState(before)):
            code = follow(sweep.id, as_json=as_json, yes=yes, searches=False, **where)
        raise typer.Exit(code)
    if as_json:
        document: ConfirmDocument = {"id": sweep.id, "repeats": asked.n_left}
        print_json(document)
    else:
        print_result(sweep.id)
    how = f"smsweep confirm {sweep.id} --top {top} --repeats {repeats} --run"
    if sweep.state is SweepState.RUNNING:
        how = f"smsweep agent {sweep.id}"
    print_message(f"up to {counted(asked.n_left, 'repeat')} of the best trials; run them with: {how}")


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
