"""`smsweep reproduce`: run a trial again and compare the results."""

from __future__ import annotations

from typing import Annotated

import typer

from smsweep.api import api
from smsweep.cli.display.agent_log import FailureTally
from smsweep.cli.display.progress import open_display
from smsweep.cli.options import Backend, Json, Quiet, TrialLabel, Verbose
from smsweep.cli.output import print_json, print_message, print_result, table
from smsweep.cli.run_agent import EXIT_CODES
from smsweep.cli.text import agent_command, clean
from smsweep.core.json_documents import ReproductionDocument
from smsweep.core.trial import Trial
from smsweep.engine.agent_state import AgentResult
from smsweep.services import reproduce as reproduce_service
from smsweep.services.agents import run_agent
from smsweep.services.views import json_views, watcher

REPRODUCE_EXAMPLES = """
smsweep reproduce abcd1234/7
smsweep reproduce abcd1234/7 --backend docker
smsweep reproduce abcd1234/7 --tolerance 0 --json
"""

MAX_FACTS = 12
DIFFERENT = 1  # the exit code


def reproduce(
    label: TrialLabel,
    backend: Backend = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            "--tolerance", min=0, metavar="R", help="Maximum relative difference of values (default: 0.01)."
        ),
    ] = None,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Run an ended trial again and compare the results.

    Uses the same source snapshot, params, configs and seed, on the same backend or on --backend, as the only trial
    of a new sweep. The exit code is 0 if both trials ended in the same state and the sweep's metrics are equal or
    within the tolerance, else 1.
    """
    again_id, name = reproduce_service.begin(label, backend=backend)
    print_message(f"{label} runs again as {again_id}/0 on {name}")
    outcome = _run(again_id, name)
    if outcome.asked_by:
        print_message(f"not compared; continue with: {agent_command(again_id, name)}")
        raise typer.Exit(EXIT_CODES[outcome.asked_by])
    allowed = reproduce_service.TOLERANCE if tolerance is None else tolerance
    comparison = reproduce_service.finish(label, again_id, tolerance=allowed)
    if as_json:
        print_json(comparison)
    else:
        _show(comparison)
    if not reproduce_service.is_good(comparison):
        raise typer.Exit(DIFFERENT)


def _run(again_id: str, backend: str) -> AgentResult:
    sweep = api.Api().sweep(again_id).sweep
    tally = FailureTally(sweep.id, watcher.metric_name(sweep))
    with open_display(tally) as display:

        def on_change(trial: Trial) -> None:
            data = json_views.trial_data(trial, sweep)
            display.changed(data, tally.note(data))

        return run_agent.agent(again_id, backend=backend, on_change=on_change)


def _show(comparison: ReproductionDocument) -> None:
    print_result(f"{comparison['trial']} and {comparison['again']}: {comparison['verdict']}")
    state = comparison["state"]
    if state["a"] != state["b"]:
        reason = clean(comparison["reason"]["b"] or comparison["reason"]["a"])
        print_result(f"the first is {state['a']}, the second is {state['b']}: {reason}")
    if comparison["metrics"]:
        rows = [
            (each["name"], each["a"], each["b"], each.get("largest"), each["steps"], each["verdict"])
            for each in comparison["metrics"]
        ]
        table(("metric", comparison["trial"], comparison["again"], "largest difference", "steps", ""), rows)
    if not comparison["facts"]:
        print_result("their environments are the same")
        return
    print_result("differences of their environments:")
    table(
        ("", comparison["trial"], comparison["again"]),
        [(f["name"], f["a"], f["b"]) for f in comparison["facts"][:MAX_FACTS]],
    )
    if len(comparison["facts"]) > MAX_FACTS:
        print_result(f"and {len(comparison['facts']) - MAX_FACTS} more; see --json")
