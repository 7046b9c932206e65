"""Plots of metrics: the curve of each trial, the objective in order of proposal, and pairs of metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, groupby
from typing import Any

from smsweep.core.json_documents import TrialFields
from smsweep.report.axes import thin
from smsweep.report.figures.common import BEST, COLORS, SYMBOLS, Figure, axis, dots, figure, menu, nothing, view
from smsweep.report.snapshot import NO_BEST, Snapshot, metric_names

MOST_POINTS = 60_000  # of all curves together
FEWEST, MOST = 8, 400  # of one curve
N_NAMED = 10  # the best trials get their own lines
OTHERS = "#999999"
MANY_CURVES, BEST_CURVES = 200, 100  # of more curves, the page shows the best at first
MANY = 1_000  # trials; with more, the marks are smaller
OTHER_TRIALS = COLORS["pending"]


def curves(snapshot: Snapshot) -> Figure:
    """Return the figure."""
    values_by_number = snapshot.curves.get(snapshot.metric, {})
    drawn = {number: values for number, values in values_by_number.items() if len(values) > 1}
    if not drawn:
        return nothing("no trial has reported the metric more than once")
    n = max(FEWEST, min(MOST, MOST_POINTS // len(drawn)))
    sign = snapshot.goal.sign
    ranked = sorted(
        ((value, trial["number"]) for trial, value in snapshot.scored() if trial["number"] in drawn),
        key=lambda pair: pair[0] * sign,
    )
    best = [number for _, number in ranked[:N_NAMED]]
    named = [_line(number, drawn[number], n) for number in best]
    others = _together({number: values for number, values in drawn.items() if number not in best}, n)
    x_axis = axis(f"number of reported values of {snapshot.metric}")
    meta = view((["yaxis"], snapshot.goal.sign), many=MANY_CURVES, best=BEST_CURVES, drops=True)
    return figure([*others, *named], xaxis=x_axis, yaxis=axis(snapshot.metric), height=460, meta=meta)


def _line(number: int, values: Sequence[float], n: int) -> dict[str, Any]:
    points = thin(values, n)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": f"trial {number}",
        "x": [x for x, _ in points],
        "y": [y for _, y in points],
        "customdata": [number] * len(points),
    }


def _together(many: Mapping[int, Sequence[float]], n: int) -> list[dict[str, Any]]:
    """Return one trace for all trials, because a browser needs minutes for thousands. Each point has its trial."""
    xs: list[int | None] = []
    ys: list[float | None] = []
    numbers: list[int | None] = []
    for number, values in many.items():
        points = thin(values, n)
        xs += [*(x for x, _ in points), None]
        ys += [*(float(f"{y:.6g}") for _, y in points), None]
        numbers += [*([number] * len(points)), None]
    line = {"color": OTHERS, "width": 1}
    others = {"type": "scatter", "mode": "lines", "name": f"{len(many)} others", "x": xs, "y": ys, "line": line}
    hover = {"customdata": numbers, "hovertemplate": "trial %{customdata}<br>%{x}, %{y}<extra></extra>"}
    return [{**others, **hover, "opacity": 0.4}] if many else []


def history(snapshot: Snapshot) -> Figure:
    """Return the figure."""
    scored = snapshot.scored()
    if not scored:
        return nothing("no trial has reported the metric yet")
    traces = []
    by_state = sorted(scored, key=lambda pair: str(pair[0]["state"]))
    for state, pairs in groupby(by_state, key=lambda pair: str(pair[0]["state"])):
        group = list(pairs)
        numbers = [trial["number"] for trial, _ in group]
        values = [value for _, value in group]
        size = {"size": 4, "opacity": 0.6} if len(scored) > MANY else {"size": 7}
        marker = {"color": COLORS[state], "symbol": SYMBOLS.get(state, "circle"), **size}
        traces.append(dots(numbers, values, numbers, name=state, marker=marker))
    numbers = [trial["number"] for trial, _ in scored]
    line = {
        "type": "scatter",
        "mode": "lines",
        "x": numbers,
        "y": snapshot.best_so_far(value for _, value in scored),
        "line": {"shape": "hv", "color": BEST},
        "name": "best so far",
        "hoverinfo": "skip",
    }
    meta = view((["yaxis"], snapshot.goal.sign), many=len(scored))
    return figure([*traces, line], xaxis=axis("trial"), yaxis=axis(snapshot.metric), meta=meta)


def front(snapshot: Snapshot) -> Figure:
    """Return the figure."""
    names = metric_names(snapshot.sweep)
    if len(names) < 2:
        return nothing("needs at least two metrics")
    traces: list[dict[str, Any]] = []
    labels: list[str] = []
    layouts: list[dict[str, Any]] = []
    for a, b in combinations(names, 2):
        complete = [trial for trial in snapshot.trials if _has(trial, a) and _has(trial, b)]
        inside = [trial for trial in complete if trial["number"] not in snapshot.front]
        ahead = sorted(
            (trial for trial in complete if trial["number"] in snapshot.front),
            key=lambda trial: float(trial["metrics"][a] or 0),
        )
        is_visible = not labels
        traces.append(_trace(inside, a, b, name="others", marker={"color": OTHER_TRIALS}, visible=is_visible))
        marker = {"color": BEST, "size": 9}
        line = {"mode": "lines+markers"} if len(names) == 2 else {}
        traces.append(_trace(ahead, a, b, name="the front", marker=marker, visible=is_visible, **line))
        labels.append(f"{a} × {b}")
        layouts.append({"xaxis": axis(_titled(snapshot, a)), "yaxis": axis(_titled(snapshot, b))})
    menus = menu(labels, 2, layouts)
    signs = [1 if metric["goal"] == "minimize" else -1 for metric in snapshot.sweep["metrics"][:2]]
    meta = view() if menus else view((["xaxis"], signs[0]), (["yaxis"], signs[1]))
    return figure(traces, updatemenus=menus, margin={"t": 80 if menus else 30}, meta=meta, **layouts[0])


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
