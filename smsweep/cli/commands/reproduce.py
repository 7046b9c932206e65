"""`smsweep reproduce`: a trial once more, and whether the same comes out."""

from __future__ import annotations

from typing import Annotated

import typer

from smsweep.api import api
from smsweep.cli.display.agent_log import Tally
from smsweep.cli.display.progress import open_display
from smsweep.cli.options import Backend, Json, Quiet, TrialLabel, Verbose
from smsweep.cli.output import answer, answer_json, say, table
from smsweep.cli.run_agent import EXIT_CODES
from smsweep.cli.text import agent_command, clean
from smsweep.core.json_documents import ReproductionDocument
from smsweep.core.trial import Trial
from smsweep.engine.agent_state import Outcome
from smsweep.services import reproduce as reproduce_service
from smsweep.services.agents import run_agent
from smsweep.services.views import json_views, watcher

EXAMPLES = """
smsweep reproduce abcd1234/7
smsweep reproduce abcd1234/7 --backend docker
smsweep reproduce abcd1234/7 --tolerance 0 --json
"""

MOST_FACTS = 12
DIFFERENT = 1  # the exit code


def reproduce(
    label: TrialLabel,
    backend: Backend = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            "--tolerance", min=0, metavar="R", help="How far values may differ, relative to them (0.01)."
        ),
    ] = None,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Run an ended trial again, and compare what it reports.

    The same source snapshot, params, configs and seed, on the backend that ran it or another, as the only trial of
    a new sweep. Exit code 0 when the sweep's metrics are equal or within the tolerance and both ended alike, else
    1.
    """
    again_id, name = reproduce_service.begin(label, backend=backend)
    say(f"{label} runs again as {again_id}/0 on {name}")
    outcome = _run(again_id, name)
    if outcome.asked_by:
        say(f"not compared; go on with: {agent_command(again_id, name)}")
        raise typer.Exit(EXIT_CODES[outcome.asked_by])
    allowed = reproduce_service.TOLERANCE if tolerance is None else tolerance
    found = reproduce_service.finish(label, again_id, tolerance=allowed)
    if as_json:
        answer_json(found)
    else:
        _show(found)
    if not reproduce_service.is_good(found):
        raise typer.Exit(DIFFERENT)


def _run(again_id: str, backend: str) -> Outcome:
    sweep = api.Api().sweep(again_id).sweep
    tally = Tally(sweep.id, watcher.metric_name(sweep))
    with open_display(tally) as display:

        def on_change(trial: Trial) -> None:
            data = json_views.trial_data(trial, sweep)
            display.changed(data, tally.note(data))

        return run_agent.agent(again_id, backend=backend, on_change=on_change)


def _show(found: ReproductionDocument) -> None:
    answer(f"{found['trial']} and {found['again']}: {found['verdict']}")
    state = found["state"]
    if state["a"] != state["b"]:
        answer(
            f"one is {state['a']}, the other {state['b']}: {clean(found['reason']['b'] or found['reason']['a'])}"
        )
    if found["metrics"]:
        rows = [
            (each["name"], each["a"], each["b"], each.get("largest"), each["steps"], each["verdict"])
            for each in found["metrics"]
        ]
        table(("metric", found["trial"], found["again"], "largest difference", "steps", ""), rows)
    if not found["facts"]:
        answer("all that is known of where they ran is the same")
        return
    answer("what differs around them:")
    table(("", found["trial"], found["again"]), [(f["name"], f["a"], f["b"]) for f in found["facts"][:MOST_FACTS]])
    if len(found["facts"]) > MOST_FACTS:
        answer(f"and {len(found['facts']) - MOST_FACTS} more, see --json")
