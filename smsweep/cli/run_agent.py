"""What `run` and `agent` share: run an agent here or detached, show its progress, and print a summary."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, cast

import typer

from smsweep.api import api
from smsweep.cli.display.agent_log import FailureTally, failure_advice, indented
from smsweep.cli.display.trials_table import sort_trials, trials_table
from smsweep.cli.options import Where
from smsweep.cli.output import print_json, print_message, table
from smsweep.cli.streams import can_be_live, is_quiet
from smsweep.cli.text import agent_command, clean, counted, counts, launch_rows
from smsweep.core.json_documents import DetachedProcessDocument, LaunchDocument, SweepDocument, TrialFields
from smsweep.core.trial import Trial
from smsweep.engine.agent_state import AgentResult
from smsweep.errors import JobError, TrialsFailed, UsageError
from smsweep.services import workspace
from smsweep.services.agents import detach as detach_service
from smsweep.services.agents import run_agent
from smsweep.services.sweeps import costs
from smsweep.services.views import json_views, watcher

MAX_ROWS = 20  # of the table at the end
MAX_LINES = 20  # of the traceback that all failures share
EXIT_CODES = {"person": 130, "machine": 143}  # of an interrupted agent: Ctrl-C, SIGTERM
REMOTE = "sagemaker"  # the backend whose agent can run as a job too


def show_launch(launch: LaunchDocument, *, err: bool) -> None:
    """Print what jobs run on and what they can cost, on stdout or stderr."""
    table(["launch", launch["backend"]], launch_rows(launch), err=err)


def confirm(launch: LaunchDocument | None, *, yes: bool) -> None:
    """Show the cost of a sweep, and ask whether its first job may start.

    Jobs on an emulator cost nothing, so no question is asked. Without a terminal, --yes or a budget is required.

    Args:
        launch: The cost; None for a free backend.
        yes: The user has confirmed.

    Raises:
        UsageError: If the user cannot be asked, and there is no budget.
        typer.Abort: If the user does not confirm.
    """
    if launch is None:
        return
    can_ask = sys.stdin.isatty()
    is_confirmed = yes or bool(launch["endpoint"])
    if not is_quiet() or not is_confirmed:
        show_launch(launch, err=True)
    if is_confirmed:
        return
    if can_ask:
        usd = launch["worst_case"]["usd"]
        most = "" if usd is None else f", which cost up to ${usd:,.2f}"
        typer.confirm(f"Start the jobs{most}?", abort=True, err=True)
    elif not launch["budget"]:
        raise UsageError(
            f"{_place_option(launch)}: its jobs cost money, and there is no terminal to ask you; add --yes, "
            "or a limit in job.yaml such as budget: {hours: 10}"
        )


def _place_option(launch: LaunchDocument) -> str:
    names = (place["name"] for place in launch["places"] if place["backend"] == launch["backend"])
    name = next(names, "")
    return f"--on {name}" if name else f"--backend {launch['backend']}"


def confirm_agent(sweep_id: str, *, yes: bool, **options: Any) -> None:
    """Ask as `confirm` does, if the next job of a sweep is its first. options: those of `launch_of_sweep`."""
    of_places = {name: options[name] for name in ("on", "job", "parallel") if name in options}
    if not yes and costs.needs_consent(sweep_id, options.get("backend"), **of_places):
        confirm(costs.launch_of_sweep(sweep_id, **options), yes=False)


def follow(sweep_id: str, *, as_json: bool, yes: bool = False, **options: Any) -> int:
    """Run an agent, show its progress, print a summary, and return the exit code.

    Args:
        sweep_id: The sweep.
        as_json: Print the summary as JSON.
        yes: The user has confirmed that the first job may start.
        options: Keyword arguments of `services.agents.run_agent.agent`.

    Raises:
        TrialsFailed: If the agent gave up or all its trials failed.
        UsageError: If the user cannot be asked, and there is no budget.
    """
    workspace.Workspace().wait_for_store()
    paid = {name: options[name] for name in ("backend", "on", "job", "count", "parallel") if name in options}
    confirm_agent(sweep_id, yes=yes, **paid)
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
            command = agent_command(sweep_id, options)
            running = f"{counted(n_running, 'trial')} continue{'s' if n_running == 1 else ''}"
            print_message(f"{running} without this agent; after you fix the error, run: {command}")
        raise
    after = json_views.show(sweep_id)
    if as_json:
        print_json({**after, "ended": {state.value: n for state, n in outcome.ended.items()}})
    if not is_quiet():
        sum_up(after, outcome, options)
    if outcome.asked_by:
        return EXIT_CODES[outcome.asked_by]
    check(outcome, tally, after)
    return 0


def sum_up(sweep: SweepDocument, outcome: AgentResult, options: Mapping[str, Any]) -> None:
    """Print the trials as a table with the best one marked, and the next command to run. options: see `follow`."""
    sweep_id = sweep["id"]
    trials = sort_trials(json_views.list_trials(sweep_id), "objective" if sweep["best"] else "number", sweep)
    if trials:
        print_message("")
        trials_table(trials[:MAX_ROWS], sweep, err=True)
        if len(trials) > MAX_ROWS:
            print_message(f"and {len(trials) - MAX_ROWS} more; show all with: smsweep trials {sweep_id}")
        print_message("")
    print_message(f"sweep {sweep_id} is {sweep['state']}: {counts(sweep['trials'])}")
    if sweep["state"] == "running" and (n_agents := sweep["n_agents"]):
        continues = f"{counted(n_agents, 'other agent')} continue{'s' if n_agents == 1 else ''}"
        print_message(f"{continues} the sweep; watch with: smsweep show {sweep_id}")
    elif sweep["state"] == "running":
        print_message(f"continue with: {agent_command(sweep_id, options)}")
    elif not outcome.ended:
        is_complete = sweep["state"] == "finished" and not sweep["trials"].get("pending")
        retry = f"run a trial again with: smsweep retry {sweep_id}/N"
        resume = f"continue with: smsweep sweep --resume {sweep_id}"
        print_message(f"no trial to run; {retry if is_complete else resume}")


def check(outcome: AgentResult, tally: FailureTally, sweep: SweepDocument) -> None:
    """Raise TrialsFailed, with grouped reasons, if the agent gave up or all its trials failed."""
    ended = {state.value: n for state, n in outcome.ended.items()}
    failed = ended.get("failed", 0) + ended.get("crashed", 0)
    is_total = failed > 0 and failed == sum(ended.values())
    if not outcome.trouble and not is_total:
        return
    summary = outcome.trouble.partition(":")[0] or (
        "the trial failed" if failed == 1 else f"all {failed} trials failed"
    )
    others = sum(sweep["trials"].get(state, 0) for state in ("finished", "stopped"))
    if not outcome.trouble and others:
        whole = "the trial" if failed == 1 else f"all {failed} trials"
        summary = f"{whole} of this agent failed; the sweep has {counted(others, 'trial')} without a failure"
    grouped = tally.reasons.most_common()
    reasons = "".join(f"  {count} x {clean(reason)}\n" for reason, count in grouped)
    is_shared = outcome.trouble and len(grouped) == 1
    traceback = indented(tally.details.get(grouped[0][0], "") if is_shared else "", MAX_LINES)
    advice = failure_advice(tally.sweep_id)
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


def is_remote(
    backend: object, where: Where | None, notify: Sequence[str] | None, on: Sequence[str] | None = None
) -> bool:
    """Return True if the agent runs on another machine.

    Args:
        backend: The value of --backend.
        where: The value of --detach-to.
        notify: The values of --notify.
        on: The values of --on.

    Raises:
        UsageError: If an option is not possible with an agent on another machine.
    """
    if on and where in (Where.SAGEMAKER, Where.S3):
        raise UsageError("--on: an agent on another machine has one backend; use --backend sagemaker")
    if on:
        return False
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
    on = cast("Sequence[str] | None", options.get("on"))
    if is_remote(options.get("backend"), where, notify, on):
        return _start_remote(sweep_id, options, with_agent=where is not Where.S3)
    arguments = ["--yes"]  # the user was asked here
    for name, value in options.items():
        if isinstance(value, (list, tuple)):
            arguments += [f"--{name}={item}" for item in value]
        elif value is True:
            arguments.append(f"--{name}")
        elif value is not None and value is not False:  # 0 GPUs are a value
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
    if options.get("parallel") == "auto" or options.get("gpus-per-trial") is not None:
        raise UsageError(
            "--detach: --parallel auto and --gpus-per-trial count the devices of this machine, but the jobs run "
            "on SageMaker; remove them"
        )
    excluded = ("backend", "job")
    arguments = {
        name: value for name, value in options.items() if name not in excluded and value not in (None, False, ())
    }
    record = detach_service.start_agent_job(sweep_id, arguments, with_agent=with_agent)
    if not with_agent:
        print_message(f"the store and the source are in {record.uri}; start an agent on any machine with:")
        places = f"--kept-at {record.uri} --source {record.uri}/source"
        command = f"smsweep agent {sweep_id} --backend sagemaker --yes {places}"
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


class Display(AbstractContextManager["Display"], Protocol):
    """Shows changes of trials. `is_news` is True if the state changed, not only the metrics."""

    def changed(self, trial: TrialFields, is_news: bool) -> None: ...


class LineDisplay(AbstractContextManager["LineDisplay"]):
    """Prints one line per change of state."""

    def __init__(self, tally: FailureTally) -> None:
        self._tally = tally

    def changed(self, trial: TrialFields, is_news: bool) -> None:
        if is_news:
            print_message(self._tally.line(trial))

    def __exit__(self, *raised: object) -> None:
        pass


def open_display(tally: FailureTally) -> Display:
    if not can_be_live(sys.stderr):
        return LineDisplay(tally)
    from smsweep.cli.display.live_display import LiveDisplay  # rich is slow to import

    return LiveDisplay(tally, sys.stderr)
