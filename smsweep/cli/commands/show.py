"""`smsweep show` and `ls`: the details of a sweep or a trial, and the list of sweeps."""

from __future__ import annotations

from smsweep.cli.options import Json, Label
from smsweep.cli.output import fields, print_json, print_message, print_result, wide_table
from smsweep.cli.text import capped, cell, clean, counts, duration, front, pairs, priced, used
from smsweep.core.json_documents import (
    DetachedAgentDocument,
    MetricDocument,
    ShownTrialDocument,
    SweepDocument,
    WaitingDocument,
)
from smsweep.services import labels
from smsweep.services.views import json_views

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


def show(
    label: Label,
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
    expected = "" if data["expected_trial_count"] is None else f" of {data['expected_trial_count']}"
    fields(
        [
            ("id", data["id"]),
            ("name", clean(data["name"])),
            ("state", data["state"]),
            ("method", f"{data['method']}, seed {data['seed']}"),
            ("metric", aim(metric) if metric else ""),
            ("metrics", "; ".join(map(aim, data["metrics"]))),
            (
                "trials",
                f"{sum(data['trials'].values())}{expected}: {counts(data['trials'])}{capped(data['usage'])}",
            ),
            ("best", f"{data['id']}/{best['number']}  {cell(best['objective'])}" if best else ""),
            ("params", pairs(json_views.flat_params(best["params"])) if best else ""),
            ("front", front(data)),
            *(("waiting", f"{data['id']}/{trial['number']}  {waits(trial)}") for trial in data["waiting"]),
            *(
                ("failures", f"{each['trials']} x {clean(each['reason'])}")
                for each in data["failures"][:MAX_REASONS]
            ),
            ("outlook", clean(data["outlook"])),
            ("used", used(data["usage"])),
            ("agent", agent(data["agent"])),
            *(("rejected", rejected) for rejected in rejected_commands(data["agent"])),
            ("price", priced(data["usage"]["price"])),
            ("program", clean(data["program"] or "")),
            ("project", clean("/".join(part for part in (data["entity"], data["project"]) if part))),
            ("source", data["source_hash"][:16]),
            ("created", (data["created_at"] or "")[:19]),
        ]
    )


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
    return f"{clean(waiting['reason'])} (since {waiting['since'][:19]})"


def show_trial(data: ShownTrialDocument) -> None:
    usage = data["usage"]
    fields(
        [
            ("number", str(data["number"])),
            ("state", data["state"]),
            ("attempt", str(data["attempt"])),
            ("objective", "" if data["objective"] is None else cell(data["objective"])),
            ("exit code", "" if data["exit_code"] is None else str(data["exit_code"])),
            ("job", f"{data['job_name']} on {data['place']}" if data["job_name"] else ""),
            ("waiting", waits(data["waiting"]) if data["waiting"] else ""),
            ("started", (data["started_at"] or "")[:19]),
            ("ended", (data["ended_at"] or "")[:19]),
            ("time", duration(data["started_at"], data["ended_at"])),
            ("cost", f"${usage['usd']:.4f}" if "usd" in usage else ""),
            ("retries", pairs(data["retries"])),
            ("model", usage.get("model_uri", "")),
            ("output", usage.get("output_uri", "")),
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
    left_out = wide_table(
        ["id", "name", "state", "method", "expected", "trials", "created"],
        [
            [
                sweep["id"],
                sweep["name"],
                sweep["state"],
                sweep["method"],
                sweep["expected_trial_count"],
                counts(sweep["trials"]),
                (sweep["created_at"] or "")[:19],
            ]
            for sweep in sweeps
        ],
        first=2,
        last=0,
    )
    if left_out:
        print_message(f"columns left out: {', '.join(left_out)}; show all with: smsweep ls | less -S")
