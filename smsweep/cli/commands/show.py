"""`smsweep show`, `ls`, `logs` and `why`: details, logs and reasons of trials, and the list of sweeps."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from smsweep.backends.registry import LOCAL
from smsweep.cli.options import Json, NewestLabel, TrialLabel
from smsweep.cli.output import fields, print_json, print_message, print_result, wide_table
from smsweep.cli.text import (
    capped,
    cell,
    clean,
    clean_line,
    counted,
    counts,
    duration,
    front,
    pairs,
    place_use,
    priced,
    used,
)
from smsweep.core.json_documents import (
    DetachedAgentDocument,
    ListedSweepDocument,
    MetricDocument,
    RevisionDocument,
    ShownTrialDocument,
    SweepDocument,
    WaitingDocument,
    WhyDocument,
)
from smsweep.core.sweep import changes_text
from smsweep.core.trial import ended_of
from smsweep.services import labels
from smsweep.services.views import json_views
from smsweep.services.views import logs as logs_view
from smsweep.services.views import why as why_service
from smsweep.util.clock import time_text

SHOW_EXAMPLES = """
smsweep show abcd1234
smsweep show abcd1234 --json
smsweep show abcd1234/7
"""

MAX_REASONS = 5
LS_EXAMPLES = """
smsweep ls
smsweep ls --json
"""
LOGS_EXAMPLES = """
smsweep logs abcd1234/7
smsweep logs abcd1234/7 -f
smsweep logs abcd1234/7 --attempt 0
smsweep logs abcd1234/7 | grep loss
smsweep logs abcd1234
"""
WHY_EXAMPLES = """
smsweep why abcd1234/7
smsweep why abcd1234/7 --json
"""


def show(
    label: NewestLabel = "",
    as_json: Json = False,
) -> None:
    """Show the details of a sweep or a trial."""
    if labels.parse_label(label)[1] is not None:
        trial = json_views.show_trial(label)
        print_json(trial) if as_json else show_trial(trial)
    else:
        sweep = json_views.show(label)
        print_json(sweep) if as_json else show_sweep(sweep)


def show_sweep(data: SweepDocument) -> None:
    metric, best = data["metric"], data["best"]
    ended = ended_of(data["trials"], data["expected_trial_count"])
    start = f"; run trials with: {agent_call(data)}" if is_idle(data) else ""
    fields(
        [
            ("id", data["id"]),
            ("name", clean(data["name"])),
            ("state", f"{state(data)}{start}"),
            ("method", f"{data['method']}, seed {data['seed']}"),
            ("metric", aim(metric) if metric else ""),
            ("metrics", "; ".join(map(aim, data["metrics"]))),
            ("constraints", "; ".join(map(clean, data["outcome_constraints"]))),
            ("trials", f"{ended}: {counts(data['trials'])}{capped(data['usage'])}"),
            ("best", f"{data['id']}/{best['number']}  {cell(best['objective'])}" if best else ""),
            ("params", pairs(json_views.flat_params(best["params"])) if best else ""),
            ("front", front(data)),
            *(("waiting", f"{data['id']}/{trial['number']}  {waits(trial)}") for trial in data["waiting"]),
            *(
                ("failures", f"{each['trials']} x {clean(each['reason'])}")
                for each in data["failures"][:MAX_REASONS]
            ),
            *(("place", place_use(place)) for place in data["places"]),
            ("outlook", clean(data["outlook"])),
            ("notes", "; ".join(clean(line) for line in data["notes"].splitlines() if line.strip())),
            ("used", used(data["usage"])),
            ("agent", agent(data["agent"])),
            *(("rejected", rejected) for rejected in rejected_commands(data["agent"])),
            ("price", priced(data["usage"]["price"])),
            ("program", clean(data["program"] or "")),
            ("function", function(data)),
            *(("revision", revision(each)) for each in data["revisions"][1:]),
            ("image", clean(data["image"])),
            ("project", clean("/".join(part for part in (data["entity"], data["project"]) if part))),
            ("source", data["source_hash"][:16]),
            ("created", time_text(data["created_at"])),
        ]
    )


def revision(data: RevisionDocument) -> str:
    """Return the number and the changes of a revision, and the user who made them."""
    changes = clean(changes_text(data["changes"]))
    return f"{data['number']}: {changes}, by {clean(data['changed_by'])} on {time_text(data['changed_at'])}"


def agent_call(data: SweepDocument) -> str:
    """Return how to start an agent: in Python, if no function of the sweep was sent yet."""
    is_missing = data["function"] is not None and not data["function"]["name"]
    return function_call(data["id"]) if is_missing else f"smsweep agent {data['id']}"


def function(data: SweepDocument) -> str:
    sent = data["function"]
    if sent is None:
        return ""
    call = function_call(data["id"])
    if not sent["name"]:
        return f"none was sent; call {call}"
    return f"{clean(sent['name'])}, sent by Python {clean(sent['python'])}; {call} sends another one"


def function_call(sweep_id: str) -> str:
    """Return the Python call that runs a function as the trials of a sweep."""
    return f'smsweep.agent("{sweep_id}", function=...)'


def is_idle(data: ListedSweepDocument) -> bool:
    """Return True if a sweep could run trials, but no agent works on it."""
    return data["state"] == "running" and not data["has_agent"]


def state(data: ListedSweepDocument) -> str:
    """Return the state, as W&B names it: `pending` without an agent; otherwise with the number of agents."""
    if is_idle(data):
        return "pending"
    return f"{data['state']}, {counted(data['n_agents'], 'agent')}" if data["n_agents"] else data["state"]


def aim(metric: MetricDocument) -> str:
    target = "" if metric["target"] is None else f", target {cell(metric['target'])}"
    return f"{clean(metric['name'])}, {metric['goal']}{target}"


def agent(status: DetachedAgentDocument | None) -> str:
    """Return the state and cost of the agent of a detached sweep; "" if there is no agent."""
    if status is None:
        return ""
    if not status["job"]:
        return f"no training job; the store is in {status['kept_at']}"
    cost = "" if status["usd"] is None else f", ${status['usd']:.2f}"
    spent = "" if status["hours"] is None else f"; {status['hours']:.2f} hours on {status['instance_type']}{cost}"
    reason = f": {clean(status['reason'].splitlines()[0])}" if status["reason"] else ""
    return f"{status['job']} is {status['status']}{reason}{spent}"


def rejected_commands(status: DetachedAgentDocument | None) -> list[str]:
    """Return one line for each of the last objects in S3 that the detached agent rejected as commands."""
    last = status["rejected"][-MAX_REASONS:] if status else []
    return [f"command {clean(each['id'])}: {clean(each['reason'])}" for each in last]


def waits(waiting: WaitingDocument) -> str:
    """Return what a trial waits for, and since when."""
    return f"{clean(waiting['reason'])} (since {time_text(waiting['since'])})"


def stored(uri: str, place: str) -> str:
    """Return the URI of a trial's results. SageMaker reports a URI although the script has written nothing."""
    is_certain = not uri or place.partition("@")[0] in LOCAL
    return uri if is_certain else f"{uri} (if the script saved files)"


def show_trial(data: ShownTrialDocument) -> None:
    usage = data["usage"]
    fields(
        [
            ("number", str(data["number"])),
            ("state", data["state"]),
            ("attempt", attempts(data["attempt"])),
            ("objective", "" if data["objective"] is None else cell(data["objective"])),
            ("exit code", "" if data["exit_code"] is None else str(data["exit_code"])),
            ("job", f"{data['job_name']} on {data['place']}" if data["job_name"] else ""),
            ("place", clean(data["place_name"])),
            ("waiting", waits(data["waiting"]) if data["waiting"] else ""),
            ("started", time_text(data["started_at"])),
            ("infeasible", clean(data["infeasible"])),
            ("repeats", "" if data["confirms"] is None else f"trial {data['confirms']}, repeat {data['repeat']}"),
            ("ended", time_text(data["ended_at"])),
            ("time", duration(data["started_at"], data["ended_at"])),
            ("cost", f"${usage['usd']:.4f}" if "usd" in usage else ""),
            ("retries", pairs(data["retries"])),
            ("model", stored(usage.get("model_uri", ""), data["place"])),
            ("output", stored(usage.get("output_uri", ""), data["place"])),
            (
                "pruned",
                f"`smsweep prune` deleted model, output and checkpoints on {data['pruned_at'][:10]}"
                if data["pruned_at"]
                else "",
            ),
            ("log", usage.get("log_url", "")),
            ("wandb", clean(usage.get("wandb_url", ""))),
        ]
    )
    for title, values in (("params", json_views.flat_params(data["params"])), ("metrics", data["metrics"])):
        if values:
            print_result(f"{title}:")
            fields([(f"  {clean(name)}", cell(value)) for name, value in values.items()])
    if data["reason"]:
        print_result("reason:")
        for line in data["reason"].splitlines():
            print_result(f"  {clean(line)}")


def attempts(last: int) -> str:
    """Return the number of the last attempt, and how many there are."""
    return f"{last}, of {last + 1}; see earlier logs with --attempt" if last else "0"


def ls(as_json: Json = False) -> None:
    """List sweeps, newest first.

    A terminal shows the columns that fit, and cuts long names. Pipes and files get everything.
    """
    sweeps = json_views.list_sweeps()
    if as_json:
        print_json(sweeps)
        return
    if not sweeps:
        print_message("no sweep yet; create a sweep with: smsweep sweep sweep.yaml")
        return
    hidden = wide_table(
        ["id", "name", "state", "method", "expected", "trials", "created"],
        [
            [
                sweep["id"],
                sweep["name"],
                state(sweep),
                sweep["method"],
                sweep["expected_trial_count"],
                counts(sweep["trials"]),
                time_text(sweep["created_at"]),
            ]
            for sweep in sweeps
        ],
        first=2,
        last=0,
    )
    if hidden:
        print_message(f"columns left out: {', '.join(hidden)}; show all with: smsweep ls | less -S")
    if idle := [sweep["id"] for sweep in sweeps if is_idle(sweep)]:
        print_message(f"no agent runs trials; start one with: smsweep agent {idle[0] if len(idle) == 1 else 'ID'}")


def logs(
    label: NewestLabel = "",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print new lines until the job has ended.")
    ] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="Include the lines with which smsweep.log() reports metrics.")
    ] = False,
    attempt: Annotated[
        int | None,
        typer.Option("--attempt", min=0, metavar="K", help="An earlier attempt, from 0 (default: the last)."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
) -> None:
    """Print the log of a trial.

    Prints stdout and stderr of the script in its last attempt. For a sweep, prints the log of the trial that
    started last; if the sweep was detached to SageMaker, the log of its agent. A terminal gets only colour codes;
    pipes and files get the lines unchanged.
    """
    is_terminal = sys.stdout.isatty()
    trial = logs_view.with_log(label)
    if trial != label:
        print_message(f"log of trial {trial}, which started last")
    for line in logs_view.read_log(trial, follow=follow, raw=raw, attempt=attempt):
        if as_json:
            print_result(json.dumps({"line": line}))
        else:
            print_result(clean_line(line) if is_terminal else line)


def why(label: TrialLabel, as_json: Json = False) -> None:
    """Explain why a trial was stopped, failed, or waits.

    Shows the rule that stopped the trial, with value and threshold; or the failure, with the end of the log.
    """
    explained = why_service.why(label)
    if as_json:
        print_json(explained)
        return
    print_result(f"{explained['trial']} {clean(explained['why'])}")
    for line in explained["reason"].splitlines():
        print_result(clean(line))
    for line in _job_lines(explained):
        print_result(line)
    if explained["log"]:
        print_result("")
        print_result("end of the log:")
        for line in explained["log"]:
            print_result(f"  {clean_line(line)}")


def _job_lines(explained: WhyDocument) -> list[str]:
    """Return the job, its place and duration, and the retries before it."""
    if not explained["job_name"] or explained["waiting"]:
        return []
    elapsed = duration(explained["started_at"], explained["ended_at"])
    ran = f"ran {elapsed}" if elapsed else "runs"
    started = time_text(explained["started_at"])
    lines = [*map(clean, explained["placement"])]
    lines += [f"job {explained['job_name']} {ran} on {explained['place']}, from {started}"]
    retried = ", ".join(f"{n} x {kind}" for kind, n in explained["retries"].items())
    return [*lines, f"retried before: {retried}"] if retried else lines
