"""What `run` and `agent` share: run an agent here or detached, show its progress, and print a summary."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from smsweep.api import api
from smsweep.cli.display.agent_log import FailureTally, failure_advice, indented
from smsweep.cli.display.progress import open_display
from smsweep.cli.display.trials_table import sort_trials, trials_table
from smsweep.cli.options import Where
from smsweep.cli.output import print_json, print_message
from smsweep.cli.streams import is_quiet
from smsweep.cli.text import agent_command, clean, counts
from smsweep.core.json_documents import DetachedProcessDocument, SweepDocument
from smsweep.core.trial import Trial
from smsweep.engine.agent_state import AgentResult
from smsweep.errors import JobError, TrialsFailed, UsageError
from smsweep.services import workspace
from smsweep.services.agents import detach as detach_service
from smsweep.services.agents import run_agent
from smsweep.services.views import json_views, watcher

MAX_ROWS = 20  # of the table at the end
MAX_LINES = 20  # of the traceback that all failures share
EXIT_CODES = {"person": 130, "machine": 143}  # of an interrupted agent: Ctrl-C, SIGTERM
REMOTE = "sagemaker"  # the backend whose agent can run as a job too


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


def detach(
    sweep_id: str,
    options: Mapping[str, object],
    where: Where | None,
    notify: Sequence[str] | None = None,
    *,
    as_json: bool = False,
) -> None:
    """Start a detached agent, and print how to watch and stop it.

    Args:
        sweep_id: The sweep.
        options: Options of `smsweep agent`, by their long names without dashes.
        where: The place of the agent; None to choose by backend.
        notify: Webhooks and commands to notify.
        as_json: Print JSON.

    Raises:
        UsageError: If an option is not possible with a detached agent.
    """
    detached = _start(sweep_id, options, where, notify)
    if as_json:
        print_json({**json_views.show(sweep_id), "detached": detached})


def is_remote(backend: object, where: Where | None, notify: Sequence[str] | None) -> bool:
    """Return True if the agent runs on another machine.

    Args:
        backend: The value of --backend.
        where: The value of --detach-to.
        notify: The values of --notify.

    Raises:
        UsageError: If an option is not possible with an agent on another machine.
    """
    backend = backend or os.environ.get("SMSWEEP_BACKEND")
    if where not in (Where.SAGEMAKER, Where.S3) and (where is not None or backend != REMOTE):
        return False
    if backend not in (None, "", REMOTE):
        raise UsageError(f"--detach: a remote agent cannot reach --backend {backend}; use --backend {REMOTE}")
    if notify:
        raise UsageError(
            "--notify: an agent on SageMaker reads notifications from job.yaml only; add notify: [...] there"
        )
    return True


def _start(
    sweep_id: str, options: Mapping[str, object], where: Where | None, notify: Sequence[str] | None
) -> DetachedProcessDocument:
    """Start the agent and return its fields for --json."""
    if is_remote(options.get("backend"), where, notify):
        return _start_remote(sweep_id, options, with_agent=where is not Where.S3)
    arguments = []
    for name, value in options.items():
        if value is True:
            arguments.append(f"--{name}")
        elif value not in (None, False):
            arguments.append(f"--{name}={value}")
    daemon = detach_service.detach(sweep_id, arguments, notify or ())
    print_message(f"agent {daemon.pid} runs in the background; its log is {daemon.log}")
    print_message(f"watch with: smsweep show {sweep_id}; smsweep logs {sweep_id}/0 -f")
    print_message(
        f"stop after the running trials with: smsweep sweep --stop {sweep_id}; stop now with: kill {daemon.pid}"
    )
    return {"pid": daemon.pid, "log": str(daemon.log)}


def _start_remote(sweep_id: str, options: Mapping[str, object], *, with_agent: bool) -> DetachedProcessDocument:
    if options.get("job"):
        raise UsageError(
            "--job: an agent on SageMaker uses the job.yaml that the sweep was created with; remove --job"
        )
    excluded = ("backend", "job")
    arguments = {
        name: value for name, value in options.items() if name not in excluded and value not in (None, False)
    }
    record = detach_service.start_agent_job(sweep_id, arguments, with_agent=with_agent)
    if not with_agent:
        print_message(f"the store and the source are in {record.uri}; start an agent on any machine with:")
        command = (
            f"smsweep agent {sweep_id} --backend sagemaker --kept-at {record.uri} --source {record.uri}/source"
        )
        print_message(command)
        return {"kept_at": record.uri, "command": command}
    hint = "; a PostgreSQL store (SMSWEEP_STORE) is safer than one in S3" if record.uri else ""
    print_message(f"detached agents on SageMaker are beta{hint}")
    cost = "" if record.per_hour is None else f", ${record.per_hour:g} an hour"
    print_message(
        f"the agent is training job {record.jobs[-1]} on {record.instance_type}{cost}; this machine can be off"
    )
    print_message(
        f"watch with: smsweep show {sweep_id}; smsweep logs {sweep_id}/0 -f; the agent: smsweep logs {sweep_id}"
    )
    print_message(
        f"stop after the running trials with: smsweep sweep --stop {sweep_id}; stop now with --cancel instead"
    )
    return {"job": record.jobs[-1]}
