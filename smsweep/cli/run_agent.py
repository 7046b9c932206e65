"""What `run` and `agent` share: an agent with its progress on screen, and how it went at the end."""

from __future__ import annotations

from typing import Any

from smsweep.api import api
from smsweep.cli.display.agent_log import Tally, indented, look_closer
from smsweep.cli.display.progress import open_display
from smsweep.cli.display.trials_table import sort_trials, trials_table
from smsweep.cli.logging_setup import is_quiet
from smsweep.cli.output import answer_json, say
from smsweep.cli.text import agent_command, clean, counts
from smsweep.core.json_documents import SweepDocument
from smsweep.core.trial import Trial
from smsweep.engine.agent_state import Outcome
from smsweep.errors import JobError, TrialsFailed
from smsweep.services import workspace
from smsweep.services.agents import run_agent
from smsweep.services.views import json_views, watcher

MOST_ROWS = 20  # of the table at the end
MOST_LINES = 20  # of the traceback that all failures have in common
EXIT_CODES = {"person": 130, "machine": 143}  # by who asked the agent to go: Ctrl-C, SIGTERM


def follow(sweep_id: str, *, as_json: bool, **options: Any) -> int:
    """Run an agent, show what it does, sum it up, and return the exit code.

    options: as for `sdk.execute.agent`. Raises TrialsFailed when it gave up or nothing succeeded.
    """
    workspace.Workspace().wait_for_store()
    sweep = api.Api().sweep(sweep_id).sweep
    before = json_views.show(sweep_id)
    if before["state"] == "paused":
        say(f"sweep {before['id']} is paused; this agent waits for: smsweep sweep --resume {before['id']}")
    tally = Tally(sweep.id, watcher.metric_name(sweep))
    try:
        with open_display(tally) as display:

            def on_change(trial: Trial) -> None:
                data = json_views.trial_data(trial, sweep)
                display.changed(data, tally.note(data))

            outcome = run_agent.agent(sweep_id, on_change=on_change, **options)
    except JobError:
        left = json_views.show(sweep_id)["trials"].get("running", 0)
        if left:
            which = "1 trial goes" if left == 1 else f"{left} trials go"
            command = agent_command(sweep_id, options.get("backend"))
            say(f"{which} on without this agent; once that is mended: {command}")
        raise
    shown = json_views.show(sweep_id)
    if as_json:
        answer_json({**shown, "ended": {state.value: n for state, n in outcome.ended.items()}})
    if not is_quiet():
        sum_up(shown, outcome, options.get("backend"))
    if outcome.asked_by:
        return EXIT_CODES[outcome.asked_by]
    check(outcome, tally)
    return 0


def sum_up(shown: SweepDocument, outcome: Outcome, backend: str | None = None) -> None:
    """Show the trials as a table with the best marked, and what to do next. backend: that was asked for."""
    sweep_id = shown["id"]
    trials = sort_trials(json_views.list_trials(sweep_id), "objective" if shown["best"] else "number", shown)
    if trials:
        say("")
        trials_table(trials[:MOST_ROWS], shown, err=True)
        if len(trials) > MOST_ROWS:
            say(f"and {len(trials) - MOST_ROWS} more: smsweep trials {sweep_id}")
        say("")
    say(f"sweep {sweep_id} is {shown['state']}: {counts(shown['trials'])}")
    if shown["state"] == "running":
        say(f"go on with: {agent_command(sweep_id, backend)}")
    elif not outcome.ended:
        is_through = shown["state"] == "finished" and not shown["trials"].get("pending")
        again = f"run a trial again: smsweep retry {sweep_id}/N"
        go_on = again if is_through else f"go on: smsweep sweep --resume {sweep_id}"
        say(f"nothing to do here; to {go_on}")


def check(outcome: Outcome, tally: Tally) -> None:
    """Raise TrialsFailed, with the reasons grouped, when the agent gave up or all its trials failed."""
    ended = {state.value: n for state, n in outcome.ended.items()}
    failed = ended.get("failed", 0) + ended.get("crashed", 0)
    is_total = failed > 0 and failed == sum(ended.values())
    if not outcome.trouble and not is_total:
        return
    said = outcome.trouble.partition(":")[0] or (
        "the trial failed" if failed == 1 else f"all {failed} trials failed"
    )
    grouped = tally.reasons.most_common()
    reasons = "".join(f"  {count} x {clean(reason)}\n" for reason, count in grouped)
    is_shared = outcome.trouble and len(grouped) == 1
    traceback = indented(tally.details.get(grouped[0][0], "") if is_shared else "", MOST_LINES)
    advice = look_closer(tally.sweep_id, tally.reasons)
    raise TrialsFailed(f"{said}:\n{reasons}{traceback}{advice}")
