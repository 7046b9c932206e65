"""Plots of params: slices, importance, contours of pairs, and parallel coordinates."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smsweep.core.trial import flat_params
from smsweep.report.axes import Axis, plain, some
from smsweep.report.figures.common import (
    BY_AGE,
    BY_QUALITY,
    COLORS,
    SCALE,
    Figure,
    axis,
    dots,
    figure,
    menu,
    nothing,
    view,
)
from smsweep.report.importance import BEST_SHARE, LEAST_TRIALS, METHOD, SOURCE, by_importance, importances
from smsweep.report.snapshot import Snapshot

MAX_SLICES = 12
SLICE_DOTS = 5_000  # per slice
SHOWN_DOTS = 2_400  # of all slices on a page
COLUMNS = 3
GAP = 0.05  # between columns, of the figure's width
ROW_PX = 260
SLICE_LETTERS = 30  # total length of labels that fit below a slice; longer ones are slanted
MOST_BARS = 30
CONTOUR_PARAMS = 5  # ten pairs
CONTOUR_TRIALS = 4
CONTOUR_DOTS = 500  # trials shown, evenly chosen; the surface uses more of them
CONTOUR_DIGITS = 5  # of the surface, which is an estimate
CONTOUR_CELLS = 40  # cells along each axis
CONTOUR_SAMPLE = 2_000  # used for a surface, evenly chosen; more trials make no visible difference
Floats = NDArray[np.float64]
PARALLEL_AXES = 12
N_TICKS = 5
MANY_LINES, BEST_LINES = 400, 200  # of more lines, the page shows the best at first
PARALLEL_LETTERS = 150  # total length of axis names that fit side by side
SMALLEST_PLAIN = 1e-3  # smaller numbers are written with an exponent
PLAIN_RANGE = (1e-15, 1e15)  # outside this range Plotly writes powers as HTML, which these axes do not render
AXIS_LETTERS = 24  # characters of a name; longer names are cut at the start, because names differ at the end


def slices(snapshot: Snapshot) -> Figure:
    """Return the figure."""
    scored = snapshot.scored()
    axes = by_importance(snapshot)[:MAX_SLICES]
    if not scored or not axes:
        return nothing("no trial has reported the metric yet" if axes else "all params of the sweep are constant")
    n_columns = min(COLUMNS, len(axes))
    n_rows = -(-len(axes) // n_columns)
    params = [(trial["number"], value, flat_params(trial["params"])) for trial, value in scored]
    traces: list[dict[str, Any]] = []
    layout: dict[str, Any] = {}
    for index, each in enumerate(axes):
        row, column = divmod(index, n_columns)
        suffix = str(index + 1) if index else ""
        points = [(number, place, v) for number, v, flat_ in params if (place := each.place(flat_)) is not None]
        points = some(points, SLICE_DOTS)
        numbers = [number for number, _, _ in points]
        marker = {"color": numbers, "colorscale": BY_AGE, "size": 6, "opacity": 0.8}
        traces.append(
            dots(
                [place for _, place, _ in points],
                [value for _, _, value in points],
                numbers,
                marker=marker,
                xaxis=f"x{suffix}",
                yaxis=f"y{suffix}",
            )
        )
        layout |= _places(each, suffix, row, column, n_rows, n_columns)
        layout[f"yaxis{suffix}"] |= axis(snapshot.metric if column == 0 else "") | (
            {"matches": "y"} if index else {}
        )
    if len(scored) > SLICE_DOTS:
        layout["title"] = {
            "text": f"{SLICE_DOTS:,} of {len(scored):,} trials, evenly selected",
            "font": {"size": 12},
        }
    names = [name for name in layout if name.startswith("yaxis")]
    meta = view((names, snapshot.goal.sign), many=len(scored), most=SHOWN_DOTS // len(axes), is_grid=True)
    return figure(traces, showlegend=False, height=60 + ROW_PX * n_rows, meta=meta, **layout)


def _places(each: Axis, suffix: str, row: int, column: int, n_rows: int, n_columns: int) -> dict[str, Any]:
    wide = (1 - GAP * (n_columns - 1)) / n_columns
    left = column * (wide + GAP)
    gap = 0.28 / n_rows
    high = (1 - gap * (n_rows - 1)) / n_rows
    bottom = 1 - row * (high + gap) - high
    labels = each.labels()
    is_crowded = len(labels) * max(map(len, labels), default=0) > SLICE_LETTERS
    across = {
        **each.layout(),
        "domain": [left, min(left + wide, 1)],
        "anchor": f"y{suffix}",
        **({"tickangle": -30} if is_crowded else {}),  # with +30 the last label does not fit and is left out
    }
    return {
        f"xaxis{suffix}": across,
        f"yaxis{suffix}": {"domain": [max(bottom, 0), bottom + high], "anchor": f"x{suffix}"},
    }


def importance(snapshot: Snapshot) -> Figure:
    """Return the figure."""
    ranked = importances(snapshot)[:MOST_BARS]
    if not ranked:
        return nothing(f"needs {LEAST_TRIALS} trials with the metric, and a param with different values")
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": [each.share for each in ranked],
        "y": [plain(each.axis.name) for each in ranked],
        "text": [_correlation_text(each.rank_correlation) for each in ranked],
        "marker": {"color": COLORS["finished"]},
        "hovertemplate": "%{y}: %{x:.1%}<br>%{text}<extra></extra>",
        "textposition": "none",
    }
    method = f"{METHOD} ({SOURCE}), best {BEST_SHARE:.0%} of {len(snapshot.scored())} trials compared with all"
    return figure(
        [bars],
        xaxis=axis("share of the importance", tickformat=".0%", range=[0, 1]),
        meta=view(caption=method),
        yaxis={"autorange": "reversed", "automargin": True, "type": "category"},
        height=130 + 26 * len(ranked),
    )


def _correlation_text(correlation: float | None) -> str:
    return "categorical: no rank correlation" if correlation is None else f"rank correlation {correlation:+.2f}"


def contours(snapshot: Snapshot) -> Figure:
    """Return the figure."""
    scored = [(trial["number"], value, flat_params(trial["params"])) for trial, value in snapshot.scored()]
    traces: list[dict[str, Any]] = []
    labels: list[str] = []
    layouts: list[dict[str, Any]] = []
    for a, b in combinations(by_importance(snapshot)[:CONTOUR_PARAMS], 2):
        points = [
            (number, x, y, value)
            for number, value, params in scored
            if (x := a.place(params)) is not None and (y := b.place(params)) is not None
        ]
        if len(points) >= CONTOUR_TRIALS:
            traces += _pair(a, b, points, snapshot, is_visible=not labels)
            labels.append(f"{a.name} × {b.name}")
            layouts.append({"xaxis": a.layout(), "yaxis": {**b.layout(), "automargin": True}})
    if not labels:
        return nothing(f"needs two params with different values, and {CONTOUR_TRIALS} trials with the metric")
    menus = menu(labels, 2, layouts)
    meta = view((["z"], snapshot.goal.sign))
    return figure(
        traces, showlegend=False, updatemenus=menus, margin={"t": 80}, height=520, meta=meta, **layouts[0]
    )


def _pair(
    a: Axis, b: Axis, points: list[tuple[int, float, float, float]], snapshot: Snapshot, *, is_visible: bool
) -> list[dict[str, Any]]:
    numbers, xs, ys, values = map(list, zip(*points, strict=True))
    across, up, heights = surface(
        np.array([a.scaled(x) for x in xs]), np.array([b.scaled(y) for y in ys]), np.array(values)
    )
    contour = {
        "type": "contour",
        "x": [a.unscaled(x) for x in across.tolist()],
        "y": [b.unscaled(y) for y in up.tolist()],
        "z": [[float(f"{z:.{CONTOUR_DIGITS}g}") for z in row] for row in heights.tolist()],
        "colorscale": SCALE,
        "reversescale": snapshot.goal.sign > 0,
        "contours": {"coloring": "heatmap"},
        "colorbar": {"title": {"text": plain(snapshot.metric)}},
        "hoverinfo": "skip",
        "visible": is_visible,
    }
    numbers, xs, ys = (some(each, CONTOUR_DOTS) for each in (numbers, xs, ys))
    marker = {"color": "#ffffff", "size": 5, "line": {"color": "#000000", "width": 1}}
    return [contour, dots(xs, ys, numbers, marker=marker, visible=is_visible)]


def surface(x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats, Floats]:
    """Return a grid over all points, and the weighted mean of z at each of its cells.

    The weight of a trial falls with the fourth power of its distance, with both axes scaled to 1.

    Returns:
        The ticks of x, the ticks of y, and the means as an array [y tick, x tick].
    """
    if len(x) > CONTOUR_SAMPLE:
        chosen = np.linspace(0, len(x) - 1, CONTOUR_SAMPLE).astype(int)
        x, y, z = x[chosen], y[chosen], z[chosen]
    xs, ys = np.linspace(x.min(), x.max(), CONTOUR_CELLS), np.linspace(y.min(), y.max(), CONTOUR_CELLS)
    wide, high = np.ptp(x) or 1.0, np.ptp(y) or 1.0
    across = ((xs[:, None] - x[None, :]) / wide) ** 2
    rows = []
    for tick in ys:
        squared = across + ((tick - y[None, :]) / high) ** 2
        weights = 1.0 / (squared**2 + 1e-6)
        rows.append(weights @ z / weights.sum(axis=1))
    return xs, ys, np.array(rows)


def parallel(snapshot: Snapshot) -> Figure:
    """Return the figure."""
    scored = snapshot.scored()
    axes = by_importance(snapshot)[:PARALLEL_AXES]
    if not scored or not axes:
        return nothing("no trial has reported the metric yet" if axes else "all params of the sweep are constant")
    params = [flat_params(trial["params"]) for trial, _ in scored]
    values = [value for _, value in scored]
    dimensions = [_dimension(axis, [axis.place(each) for each in params]) for axis in axes]
    objective = {"label": plain(snapshot.metric), "values": values, **_format(values)}
    trace: dict[str, Any] = {
        "type": "parcoords",
        # Plotly draws lines with a higher value on top: the best trials.
        "line": {"color": _ranks([-value * snapshot.goal.sign for value in values]), "colorscale": BY_QUALITY},
        "dimensions": [*dimensions, objective],
        "customdata": [trial["number"] for trial, _ in scored],
    }
    longest = max(len(axis.name) for axis in axes)
    is_crowded = longest * len(dimensions) > PARALLEL_LETTERS
    if is_crowded:
        trace["labelangle"] = -25
    margin = {"t": 120 if is_crowded else 60, "l": 110, "r": 60, "b": 30}
    meta = view((["objective"], snapshot.goal.sign), many=MANY_LINES, best=BEST_LINES)
    return figure([trace], margin=margin, height=480, meta=meta)


def _ranks(values: list[float]) -> list[int]:
    """Return the rank of each value. Colors by rank differ also between values that are close together."""
    rank = {value: index for index, value in enumerate(sorted(set(values)))}
    return [rank[value] for value in values]


def _dimension(axis: Axis, places: list[float | None]) -> dict[str, Any]:
    known = [axis.scaled(place) for place in places if place is not None]
    # Trials without the param (in another branch of a nested space) are below the lowest value of the axis.
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    below = low - (high - low or 1.0) * 0.1
    values = [below if place is None else axis.scaled(place) for place in places]
    name = axis.name if len(axis.name) <= AXIS_LETTERS else f"…{axis.name[1 - AXIS_LETTERS :]}"
    dimension: dict[str, Any] = {"label": plain(name), "values": values}
    if axis.categories:
        labels = axis.labels()  # not escaped: Plotly does not interpret HTML in these labels
        dimension |= {"tickvals": list(range(len(labels))), "ticktext": labels}
        dimension["range"] = [below if None in places else 0, max(len(labels) - 1, 1)]
    elif axis.is_log:
        ticks = [low + (high - low) * index / (N_TICKS - 1) for index in range(N_TICKS)]
        dimension |= {"tickvals": ticks, "ticktext": [_tick(axis.unscaled(tick)) for tick in ticks]}
    else:
        dimension |= _format(values)
    return dimension


def _tick(value: float) -> str:
    """Return a number as the page writes numbers (`shown` in static/trial_table.js)."""
    digits = f"{value:.2e}" if abs(value) < SMALLEST_PLAIN and value else f"{value:.3g}"
    mantissa, mark, exponent = digits.partition("e")
    return f"{float(mantissa):g}e{int(exponent)}" if mark else digits


def _format(values: list[float]) -> dict[str, str]:
    most = max(map(abs, values))
    return {} if most == 0 or PLAIN_RANGE[0] <= most < PLAIN_RANGE[1] else {"tickformat": ".3~g"}
