"""The objective over each param."""

from __future__ import annotations

from typing import Any

from smsweep.core.trial import flat_params
from smsweep.report.axes import Axis
from smsweep.report.downsample import some
from smsweep.report.figures.common import BY_AGE, Figure, axis, dots, figure, nothing
from smsweep.report.importance import by_importance
from smsweep.report.snapshot import Snapshot

MOST_SLICES = 12
MOST_DOTS = 1_500  # per slice
COLUMNS = 3
GAP = 0.05  # between columns, of the figure's width
ROW_PX = 260
LETTERS = 30  # total length of labels that fit below a slice; longer ones are slanted


def slices(snapshot: Snapshot) -> Figure:
    """Return the figure."""
    scored = snapshot.scored()
    axes = by_importance(snapshot)[:MOST_SLICES]
    if not scored or not axes:
        return nothing("no trial has reported the metric yet" if axes else "the sweep varies no param")
    n_columns = min(COLUMNS, len(axes))
    n_rows = -(-len(axes) // n_columns)
    params = [(trial["number"], value, flat_params(trial["params"])) for trial, value in scored]
    traces: list[dict[str, Any]] = []
    layout: dict[str, Any] = {}
    for index, each in enumerate(axes):
        row, column = divmod(index, n_columns)
        suffix = str(index + 1) if index else ""
        points = [(number, place, v) for number, v, flat_ in params if (place := each.place(flat_)) is not None]
        points = some(points, MOST_DOTS)
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
    if len(scored) > MOST_DOTS:
        layout["title"] = {"text": f"{MOST_DOTS:,} of {len(scored):,} trials, evenly chosen", "font": {"size": 12}}
    return figure(traces, showlegend=False, height=60 + ROW_PX * n_rows, **layout)


def _places(each: Axis, suffix: str, row: int, column: int, n_rows: int, n_columns: int) -> dict[str, Any]:
    wide = (1 - GAP * (n_columns - 1)) / n_columns
    left = column * (wide + GAP)
    gap = 0.28 / n_rows
    high = (1 - gap * (n_rows - 1)) / n_rows
    bottom = 1 - row * (high + gap) - high
    labels = each.labels()
    is_crowded = len(labels) * max(map(len, labels), default=0) > LETTERS
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
