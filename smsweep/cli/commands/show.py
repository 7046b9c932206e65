"""`smsweep show`: one sweep, or one trial, in full."""

from __future__ import annotations

from smsweep.cli.options import Json, Label
from smsweep.cli.output import answer, answer_json, fields
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

EXAMPLES = """
smsweep show abcd1234
smsweep show abcd1234 --json
smsweep show abcd1234/7
"""

MOST_REASONS = 5


def show(
    label: Label,
    as_json: Json = False,
) -> None:
    """Show all about a sweep, or about one trial."""
    if labels.parse_label(label)[1] is not None:
        trial = json_views.show_trial(label)
        answer_json(trial) if as_json else show_trial(trial)
    else:
        sweep = json_views.show(label)
        answer_json(sweep) if as_json else show_sweep(sweep)


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
            *(("waiting", f"{data['id']}/{found['number']}  {waits(found)}") for found in data["waiting"]),
            *(
                ("failures", f"{each['trials']} x {clean(each['reason'])}")
                for each in data["failures"][:MOST_REASONS]
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


def agent(found: DetachedAgentDocument | None) -> str:
    """Say how a detached sweep's agent is, and what it has cost; "" where there is none."""
    if found is None:
        return ""
    if not found["job"]:
        return f"no training job; its store is kept at {found['kept_at']}"
    cost = "" if found["usd"] is None else f", ${found['usd']:.2f}"
    spent = "" if found["hours"] is None else f"; {found['hours']:.2f} hours on {found['instance_type']}{cost}"
    reason = f": {clean(found['reason'].splitlines()[0])}" if found["reason"] else ""
    return f"{found['job']} is {found['status']}{reason}{spent}"


def rejected_commands(found: DetachedAgentDocument | None) -> list[str]:
    """Return a line for each of the last objects among a detached agent's commands that were not commands."""
    last = found["rejected"][-MOST_REASONS:] if found else []
    return [f"command {clean(each['id'])}: {clean(each['reason'])}" for each in last]


def waits(found: WaitingDocument) -> str:
    """Say what a trial waits for; the reason names a quota's limit."""
    return f"{clean(found['reason'])} (since {found['since'][:19]})"


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
            answer(f"{title}:")
            fields([(f"  {clean(name)}", cell(value)) for name, value in values.items()])
    if data["reason"]:
        answer("reason:")
        for line in data["reason"].splitlines():
            answer(f"  {clean(line)}")
