"""What `run` and `agent` share: run an agent, show its progress, and print a summary."""

from __future__ import annotations

from typing import Any

from smsweep.api import api
from smsweep.cli.display.agent_log import FailureTally, failure_advice, indented
from smsweep.cli.display.progress import open_display
from smsweep.cli.display.trials_table import sort_trials, trials_table
from smsweep.cli.logging_setup import is_quiet
from smsweep.cli.output import print_json, print_message
from smsweep.cli.text import agent_command, clean, counts
from smsweep.core.json_documents import SweepDocument
from smsweep.core.trial import Trial
from smsweep.engine.agent_state import AgentResult
from smsweep.errors import JobError, TrialsFailed
from smsweep.services import workspace
from smsweep.services.agents import run_agent
from smsweep.services.views import json_views, watcher

MAX_ROWS = 20  # of the table at the end
MAX_LINES = 20  # of the traceback that all failures share
EXIT_CODES = {"person": 130, "machine": 143}  # of an interrupted agent: Ctrl-C, SIGTERM


def follow(sweep_id: str, *, as_json: bool, **options: Any) -> int:
    """Run an agent, show its progress, print a summary, and return the exit code.

    Args:
        sweep_id: The sweep.
        as_json: Print the summary as JSON.
        options: Keyword arguments of `services.agents.run_agent.agent`.

    Raises:
        TrialsFailed: If the agent gave up or all its trials failed.
    """
    workspace.Workspace().wait_for_store()
    sweep = api.Api().sweep(sweep_id).sweep
    before = json_views.show(sweep_id)
    if before["state"] == "paused":
        print_message(f"sweep {before['id']} is paused; continue it with: smsweep sweep --resume {before['id']}")
    tally = FailureTally(sweep.id, watcher.metric_name(sweep))
    try:
        with open_display(tally) as display:

            def on_change(trial: Trial) -> None:
                data = json_views.trial_data(trial, sweep)
                display.changed(data, tally.note(data))

            outcome = run_agent.agent(sweep_id, on_change=on_change, **options)
    except JobError:
        n_running = json_views.show(sweep_id)["trials"].get("running", 0)
        if n_running:
            trials = "1 trial continues" if n_running == 1 else f"{n_running} trials continue"
            command = agent_command(sweep_id, options.get("backend"))
            print_message(f"{trials} without this agent; after you fix the error, run: {command}")
        raise
    shown = json_views.show(sweep_id)
    if as_json:
        print_json({**shown, "ended": {state.value: n for state, n in outcome.ended.items()}})
    if not is_quiet():
        sum_up(shown, outcome, options.get("backend"))
    if outcome.asked_by:
        return EXIT_CODES[outcome.asked_by]
    check(outcome, tally)
    return 0


def sum_up(shown: SweepDocument, outcome: AgentResult, backend: str | None = None) -> None:
    """Print the trials as a table with the best one marked, and the next command to run."""
    sweep_id = shown["id"]
    trials = sort_trials(json_views.list_trials(sweep_id), "objective" if shown["best"] else "number", shown)
    if trials:
        print_message("")
        trials_table(trials[:MAX_ROWS], shown, err=True)
        if len(trials) > MAX_ROWS:
            print_message(f"and {len(trials) - MAX_ROWS} more; show all with: smsweep trials {sweep_id}")
        print_message("")
    print_message(f"sweep {sweep_id} is {shown['state']}: {counts(shown['trials'])}")
    if shown["state"] == "running":
        print_message(f"continue with: {agent_command(sweep_id, backend)}")
    elif not outcome.ended:
        is_complete = shown["state"] == "finished" and not shown["trials"].get("pending")
        retry = f"run a trial again with: smsweep retry {sweep_id}/N"
        resume = f"continue with: smsweep sweep --resume {sweep_id}"
        print_message(f"no trial to run; {retry if is_complete else resume}")


def check(outcome: AgentResult, tally: FailureTally) -> None:
    """Raise TrialsFailed, with grouped reasons, if the agent gave up or all its trials failed."""
    ended = {state.value: n for state, n in outcome.ended.items()}
    failed = ended.get("failed", 0) + ended.get("crashed", 0)
    is_total = failed > 0 and failed == sum(ended.values())
    if not outcome.trouble and not is_total:
        return
    summary = outcome.trouble.partition(":")[0] or (
        "the trial failed" if failed == 1 else f"all {failed} trials failed"
    )
    grouped = tally.reasons.most_common()
    reasons = "".join(f"  {count} x {clean(reason)}\n" for reason, count in grouped)
    is_shared = outcome.trouble and len(grouped) == 1
    traceback = indented(tally.details.get(grouped[0][0], "") if is_shared else "", MAX_LINES)
    advice = failure_advice(tally.sweep_id, tally.reasons)
    raise TrialsFailed(f"{summary}:\n{reasons}{traceback}{advice}")
