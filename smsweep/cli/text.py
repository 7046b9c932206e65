"""Values as text that is safe to print: a terminal gets only printable characters."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from smsweep.core.json_documents import (
    AmountsDocument,
    LaunchDocument,
    PlaceUseDocument,
    PlannedPlaceDocument,
    PriceDocument,
    SweepDocument,
    SweepUsageDocument,
)
from smsweep.util.terminal_text import clean as clean
from smsweep.util.terminal_text import counted as counted
from smsweep.util.terminal_text import human_size

COLOUR = re.compile(r"\x1b\[[\d;]*m")
STATES = (
    "finished",
    "running",
    "stopping",
    "pending",
    "stopped",
    "killed",
    "failed",
    "crashed",
)  # best outcome first
MAX_FRONT = 10  # trial numbers in a line
EMPTY = "-"  # in a table, so that every row has the same number of columns


def clean_line(line: str) -> str:
    """Return a log line without terminal control characters, except colours and tabs."""
    parts, end = [], 0
    for colour in COLOUR.finditer(line):
        parts += [_clean_tabbed(line[end : colour.start()]), colour.group()]
        end = colour.end()
    return "".join([*parts, _clean_tabbed(line[end:])])


def cell(value: object, digits: int = 6) -> str:
    """Return a value as a table cell: short numbers, JSON for lists and mappings, `-` for None and ""."""
    if value is None or value == "":
        return EMPTY
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    if isinstance(value, (dict, list, tuple)):
        return clean(json.dumps(value, ensure_ascii=False, default=str))
    return clean(str(value))


def pairs(values: Mapping[str, object], digits: int = 6) -> str:
    """Return `name=value` for each item, separated by blanks.

    Args:
        values: Values by name.
        digits: Significant digits of floats.
    """
    return " ".join(f"{clean(name)}={cell(value, digits)}" for name, value in values.items())


def counts(trials: dict[str, int]) -> str:
    """Return counts by state as text such as `12 finished, 1 failed`."""
    in_order = sorted(trials, key=STATES.index)
    return ", ".join(f"{trials[state]} {state}" for state in in_order if trials[state]) or "none"


def duration(started_at: str | None, ended_at: str | None) -> str:
    """Return the time between two ISO times as `4.2s`, `3m20s` or `2h05m`; "" if either is missing."""
    if not started_at or not ended_at:
        return ""
    seconds = (datetime.fromisoformat(ended_at) - datetime.fromisoformat(started_at)).total_seconds()
    seconds = max(0.0, seconds)  # the clock may have been set back
    return f"{seconds:.1f}s" if seconds < 60 else lasting(seconds)


def lasting(seconds: float) -> str:
    """Return a duration in seconds as `4s`, `3m20s`, `2h05m` or `3d04h`."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    if minutes == 0:
        return f"{rest}s"
    if minutes < 60:
        return f"{minutes}m{rest:02}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours < 48 else f"{hours // 24}d{hours % 24:02}h"


def _clean_tabbed(text: str) -> str:
    return "\t".join(map(clean, text.split("\t")))


def front(sweep: SweepDocument) -> str:
    """Return the number and the numbers of the trials on the Pareto front; "" if there are none.

    Args:
        sweep: A sweep, as `json_views.show` returns it.
    """
    numbers = sweep["front"]
    first = " ".join(map(str, numbers[:MAX_FRONT])) + (" ..." if numbers[MAX_FRONT:] else "")
    return f"{counted(len(numbers), 'trial')}: {first}" if numbers else ""


def agent_command(sweep_id: str, options: Mapping[str, Any]) -> str:
    """Return the command that runs more trials of a sweep.

    Args:
        sweep_id: The sweep.
        options: The options that decide where and how trials run: `backend`, `on`, `parallel` and
            `gpus_per_trial`, as for `services.agents.run_agent.agent`. Others are not in the command.
    """
    parts = ["smsweep", "agent", sweep_id]
    if backend := options.get("backend"):
        parts += ["--backend", backend]
    for place in options.get("on") or ():
        parts += ["--on", place]
    if (parallel := options.get("parallel") or 1) != 1:
        parts += ["--parallel", str(parallel)]
    if (gpus := options.get("gpus_per_trial")) is not None:
        parts += ["--gpus-per-trial", f"{gpus:g}"]
    return shlex.join(parts)


def used(usage: SweepUsageDocument) -> str:
    """Return the jobs, hours and cost of a sweep, with budget and reserved amounts; "" if nothing is counted."""
    budget, reserved = usage["budget"], usage["set_aside"]
    if not budget and (not usage["jobs"] or usage["usd"] is None):
        return ""
    of_hours = f" of {budget['hours']:g}" if "hours" in budget else ""
    of_usd = f" of ${budget['usd']:g}" if "usd" in budget else ""
    cost = f", ${usage['usd'] or 0:.2f}{of_usd}" if usage["usd"] is not None or of_usd else ""
    parts = [f"${reserved['usd']:.2f}"] if reserved.get("usd") else []
    parts += [f"{reserved['hours']:.2f} hours"] if reserved.get("hours") else []
    kept = f"; {' and '.join(parts)} reserved for running trials" if parts else ""
    return f"{counted(usage['jobs'], 'job')}, {usage['hours']:.2f}{of_hours} instance hours{cost}{kept}"


def capped(usage: SweepUsageDocument) -> str:
    """Return the limit of trials in the budget; "" if there is none."""
    cap = usage["budget"].get("trials")
    return "" if cap is None else f"; the budget allows {cap:g}"


def priced(price: PriceDocument | None) -> str:
    """Return the prices from the AWS price list, and their date; "" if they are unknown."""
    if price is None:
        return ""
    each = ", ".join(f"{clean(name)} ${usd:g}" for name, usd in price["by_type"].items())
    return f"{each} an hour (AWS price list, {price['asked_at'][:10]})"


def launch_rows(launch: LaunchDocument) -> list[tuple[str, str]]:
    """Return the rows of the table that is shown before jobs start: name and value."""
    source, unknown = launch["source"], launch["unknown"]
    n_trials, per_hour = launch["trials"], launch["price_per_hour"]
    instances = " or ".join(f"{each['count']} x {clean(each['type'])}" for each in launch["instances"])
    files = "" if source is None or source["files"] is None else f"{source['files']} files, "
    origin = "AWS price list" if launch["price_from"] == "aws" else "price_per_hour in job.yaml"
    rows = [
        ("emulator", f"{launch['endpoint']}, where jobs cost nothing" if launch["endpoint"] else ""),
        ("region", launch["region"]),
        ("account", launch["account"] or _unknown(unknown, "account")),
        ("role", launch["role"]),
        ("image", launch["image"]),
        ("instances of a job", instances + (", spot" if launch["is_spot"] else "")),
        ("source", "" if source is None else f"{files}{human_size(source['bytes'])}"),
        ("trials", "unlimited" if n_trials is None else str(n_trials)),
        (
            "price per hour",
            f"{_dollars(per_hour)} ({origin})" if per_hour else _unknown(unknown, "price_per_hour"),
        ),
        ("worst case", _worst_case(launch)),
        ("spot", _spot(launch) if launch["is_spot"] else ""),
        ("estimate", _estimate(launch)),
        ("quota", _quota(launch)),
        ("limits", _limits(launch)),
    ]
    rows += [(f"place {place['name']}", _place(place)) for place in launch["places"]]
    return [(name, clean(value)) for name, value in rows if value]


def place_use(place: PlaceUseDocument) -> str:
    """Return the trials and the cost at a place, such as `local: 2 running, 12 ended`."""
    usd = f", {_dollars(place['usd'])}" if place["usd"] else ""
    return f"{clean(place['name'])}: {place['active']} running, {place['ended']} ended{usd}"


def _place(place: PlannedPlaceDocument) -> str:
    price, worst = place["price_per_hour"], place["worst_usd_per_trial"]
    instances = " or ".join(f"{each['count']} x {each['type']}" for each in place["instances"])
    cost = "price unknown" if price is None else f"{_dollars(price)} an hour" if price else "free"
    most = f", up to {_dollars(worst)} a trial" if worst else ""
    parts = [counted(place["slots"], "slot"), place["region"], instances, "spot" * place["is_spot"], cost + most]
    return ", ".join(filter(None, parts))


def _dollars(usd: float) -> str:
    return f"${usd:,.2f}" if usd >= 1 else f"${usd:.3g}"


def _unknown(reasons: Mapping[str, str], name: str) -> str:
    reason = " ".join(reasons.get(name, "").split())
    return f"unknown: {reason}" if reason else "unknown"


def _worst_case(launch: LaunchDocument) -> str:
    usd, hours = launch["worst_case"]["usd"], launch["worst_case"]["hours"]
    if usd is None and hours is None:
        return _unknown(launch["unknown"], "worst_case")
    of_trials = "" if launch["trials"] is None else f"{counted(launch['trials'], 'trial')} of "
    spent = "" if hours is None else f"{hours:,.2f} instance hours; "
    basis = f"{spent}{of_trials}max_run {lasting(launch['max_run_s'])}; retries are not included"
    return f"{_unknown(launch['unknown'], 'worst_case') if usd is None else _dollars(usd)} ({basis})"


def _spot(launch: LaunchDocument) -> str:
    wait = launch["max_wait_s"]
    waiting = f", and the wait for capacity (max_wait {lasting(wait)}) costs nothing" if wait else ""
    return f"costs at most the worst case: AWS bills fewer seconds than a job takes{waiting}"


def _estimate(launch: LaunchDocument) -> str:
    estimate = launch["estimate"]
    if estimate is None:
        return _unknown(launch["unknown"], "estimate")
    per_trial = "" if estimate["usd_per_trial"] is None else f"{_dollars(estimate['usd_per_trial'])} and "
    total = "" if estimate["usd"] is None else f"{_dollars(estimate['usd'])}; "
    trials = counted(estimate["trials"], "earlier trial")
    return f"{total}{per_trial}{lasting(estimate['seconds_per_trial'])} per trial (mean of {trials})"


def _quota(launch: LaunchDocument) -> str:
    quota, needed = launch["quota"], launch["instances"][0]["count"] if launch["instances"] else 1
    if quota is None:
        return _unknown(launch["unknown"], "quota")
    limit = "1 instance" if quota == 1 else f"{quota:g} instances"
    if quota < needed:
        return f"{limit}, but a job needs {needed}; request more in AWS Service Quotas"
    if quota < needed * launch["parallel"] and not launch["places"]:
        return f"{limit}, so {quota // needed:g} of --parallel {launch['parallel']} trials can run at a time"
    return limit


def _limits(launch: LaunchDocument) -> str:
    """Return the limits of the sweep, or how to set one."""
    limits = [
        *amounts(launch["budget"]),
        f"run_cap {launch['run_cap']}" if launch["run_cap"] is not None else "",
        f"--count {launch['count']}" if launch["count"] is not None else "",
    ]
    return ", ".join(filter(None, limits)) or "none; set budget in job.yaml, or run_cap in sweep.yaml"


def amounts(budget: AmountsDocument) -> list[str]:
    """Return the limits of a budget, such as `budget $20`."""
    usd, hours, trials = budget.get("usd"), budget.get("hours"), budget.get("trials")
    return [
        *([f"budget ${usd:g}"] if usd is not None else []),
        *([f"budget {hours:g} instance hours"] if hours is not None else []),
        *([f"budget {trials:g} trials"] if trials is not None else []),
    ]
