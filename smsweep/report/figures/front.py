"""Pairs of metrics, with the Pareto front highlighted."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from smsweep.core.json_documents import TrialFields
from smsweep.report.figures.common import BEST, COLORS, Figure, axis, dots, figure, menu, nothing
from smsweep.report.snapshot import NO_BEST, Snapshot, metric_names

OTHERS = COLORS["pending"]


def front(snapshot: Snapshot) -> Figure:
    """Return the figure."""
    names = metric_names(snapshot.sweep)
    if len(names) < 2:
        return nothing("a front needs at least two metrics")
    traces: list[dict[str, Any]] = []
    labels: list[str] = []
    layouts: list[dict[str, Any]] = []
    for a, b in combinations(names, 2):
        found = [trial for trial in snapshot.trials if _has(trial, a) and _has(trial, b)]
        inside = [trial for trial in found if trial["number"] not in snapshot.front]
        ahead = sorted(
            (trial for trial in found if trial["number"] in snapshot.front),
            key=lambda trial: float(trial["metrics"][a] or 0),
        )
        is_shown = not labels
        traces.append(_trace(inside, a, b, name="others", marker={"color": OTHERS}, visible=is_shown))
        marker = {"color": BEST, "size": 9}
        line = {"mode": "lines+markers"} if len(names) == 2 else {}
        traces.append(_trace(ahead, a, b, name="the front", marker=marker, visible=is_shown, **line))
        labels.append(f"{a} × {b}")
        layouts.append({"xaxis": axis(_titled(snapshot, a)), "yaxis": axis(_titled(snapshot, b))})
    menus = menu(labels, 2, layouts)
    return figure(traces, updatemenus=menus, margin={"t": 80 if menus else 30}, **layouts[0])


def _has(trial: TrialFields, name: str) -> bool:
    value = trial["metrics"].get(name)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf")
    return is_number and trial["state"] not in NO_BEST


def _trace(trials: list[TrialFields], a: str, b: str, **more: Any) -> dict[str, Any]:
    numbers = [trial["number"] for trial in trials]
    xs, ys = [trial["metrics"][a] for trial in trials], [trial["metrics"][b] for trial in trials]
    return dots(xs, ys, numbers, **more)


def _titled(snapshot: Snapshot, name: str) -> str:
    goal = next(metric["goal"] for metric in snapshot.sweep["metrics"] if metric["name"] == name)
    return f"{name} ({goal})"
