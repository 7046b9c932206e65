"""Learning curves: the reported values of the metric, one line per trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from smsweep.report.downsample import thin
from smsweep.report.figures.common import Figure, axis, figure, nothing
from smsweep.report.snapshot import Snapshot

MOST_POINTS = 60_000  # of all curves together
FEWEST, MOST = 8, 400  # of one curve
N_NAMED = 10  # the best trials get their own lines
OTHERS = "#999999"


def curves(snapshot: Snapshot) -> Figure:
    """Return the figure."""
    found = snapshot.curves.get(snapshot.metric, {})
    drawn = {number: values for number, values in found.items() if len(values) > 1}
    if not drawn:
        return nothing("no trial has reported the metric more than once")
    n = max(FEWEST, min(MOST, MOST_POINTS // len(drawn)))
    ranked = sorted(
        ((value, trial["number"]) for trial, value in snapshot.scored() if trial["number"] in drawn),
        key=lambda pair: pair[0] * snapshot.goal.sign,
    )
    best = [number for _, number in ranked[:N_NAMED]]
    named = [_line(number, drawn[number], n) for number in best]
    others = _together({number: values for number, values in drawn.items() if number not in best}, n)
    x_axis = axis(f"value of {snapshot.metric}, counted from the trial's first")
    return figure([*others, *named], xaxis=x_axis, yaxis=axis(snapshot.metric), height=460)


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
