"""The objective over two params, for each pair of the most important params."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smsweep.core.trial import flat_params
from smsweep.report.axes import Axis
from smsweep.report.browser_text import plain
from smsweep.report.downsample import some
from smsweep.report.figures.common import SCALE, Figure, dots, figure, menu, nothing
from smsweep.report.importance import by_importance
from smsweep.report.snapshot import Snapshot

MOST_AXES = 5  # ten pairs
LEAST_TRIALS = 4
MOST_DOTS = 500  # trials shown, evenly chosen; the surface uses more of them
DIGITS = 5  # of the surface, which is an estimate


def contours(snapshot: Snapshot) -> Figure:
    """Return the figure."""
    scored = [(trial["number"], value, flat_params(trial["params"])) for trial, value in snapshot.scored()]
    traces: list[dict[str, Any]] = []
    labels: list[str] = []
    layouts: list[dict[str, Any]] = []
    for a, b in combinations(by_importance(snapshot)[:MOST_AXES], 2):
        found = [
            (number, x, y, value)
            for number, value, params in scored
            if (x := a.place(params)) is not None and (y := b.place(params)) is not None
        ]
        if len(found) >= LEAST_TRIALS:
            traces += _pair(a, b, found, snapshot, is_shown=not labels)
            labels.append(f"{a.name} × {b.name}")
            layouts.append({"xaxis": a.layout(), "yaxis": {**b.layout(), "automargin": True}})
    if not labels:
        return nothing(f"needs two params with different values, and {LEAST_TRIALS} trials with the metric")
    menus = menu(labels, 2, layouts)
    return figure(traces, showlegend=False, updatemenus=menus, margin={"t": 80}, height=520, **layouts[0])


def _pair(
    a: Axis, b: Axis, found: list[tuple[int, float, float, float]], snapshot: Snapshot, *, is_shown: bool
) -> list[dict[str, Any]]:
    numbers, xs, ys, values = map(list, zip(*found, strict=True))
    across, up, heights = surface(
        np.array([a.scaled(x) for x in xs]), np.array([b.scaled(y) for y in ys]), np.array(values)
    )
    contour = {
        "type": "contour",
        "x": [a.unscaled(x) for x in across.tolist()],
        "y": [b.unscaled(y) for y in up.tolist()],
        "z": [[float(f"{z:.{DIGITS}g}") for z in row] for row in heights.tolist()],
        "colorscale": SCALE,
        "reversescale": snapshot.goal.sign > 0,
        "contours": {"coloring": "heatmap"},
        "colorbar": {"title": {"text": plain(snapshot.metric)}},
        "hoverinfo": "skip",
        "visible": is_shown,
    }
    numbers, xs, ys = (some(each, MOST_DOTS) for each in (numbers, xs, ys))
    marker = {"color": "#ffffff", "size": 5, "line": {"color": "#000000", "width": 1}}
    return [contour, dots(xs, ys, numbers, marker=marker, visible=is_shown)]


SIDE = 40  # cells along each axis
MOST_TRIALS = 2_000  # used for a surface, evenly chosen; more trials make no visible difference
Floats = NDArray[np.float64]


def surface(x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats, Floats]:
    """Return a grid over all points, and the weighted mean of z at each of its cells.

    The weight of a trial falls with the fourth power of its distance, with both axes scaled to 1.

    Returns:
        The ticks of x, the ticks of y, and the means as an array [y tick, x tick].
    """
    if len(x) > MOST_TRIALS:
        chosen = np.linspace(0, len(x) - 1, MOST_TRIALS).astype(int)
        x, y, z = x[chosen], y[chosen], z[chosen]
    xs, ys = np.linspace(x.min(), x.max(), SIDE), np.linspace(y.min(), y.max(), SIDE)
    wide, high = np.ptp(x) or 1.0, np.ptp(y) or 1.0
    across = ((xs[:, None] - x[None, :]) / wide) ** 2
    rows = []
    for tick in ys:
        squared = across + ((tick - y[None, :]) / high) ** 2
        weights = 1.0 / (squared**2 + 1e-6)
        rows.append(weights @ z / weights.sum(axis=1))
    return xs, ys, np.array(rows)
