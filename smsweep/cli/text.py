"""Values as text that is safe to print: a terminal gets only printable characters."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime

from smsweep.core.json_documents import PriceDocument, SweepDocument, SweepUsageDocument
from smsweep.util.terminal_text import clean as clean

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


def front(shown: SweepDocument) -> str:
    """Return the number and the numbers of the trials on the Pareto front; "" if there are none.

    Args:
        shown: A sweep, as `json_views.show` returns it.
    """
    numbers = shown["front"]
    first = " ".join(map(str, numbers[:MAX_FRONT])) + (" ..." if numbers[MAX_FRONT:] else "")
    return f"{len(numbers)} trials: {first}" if numbers else ""


def agent_command(sweep_id: str, backend: str | None) -> str:
    """Return the command that runs more trials of a sweep, with the same --backend if one was given."""
    return f"smsweep agent {sweep_id}" + (f" --backend {backend}" if backend else "")


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
    return f"{usage['jobs']} jobs, {usage['hours']:.2f}{of_hours} instance hours{cost}{kept}"


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
