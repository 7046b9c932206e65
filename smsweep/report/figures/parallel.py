"""Parallel coordinates: a line per trial through its params and its objective. Drag along an axis to select."""

from __future__ import annotations

from typing import Any

from smsweep.core.trial import flat_params
from smsweep.report.axes import Axis
from smsweep.report.browser_text import plain
from smsweep.report.figures.common import BY_QUALITY, Figure, figure, nothing
from smsweep.report.importance import by_importance
from smsweep.report.snapshot import Snapshot

MOST_AXES = 12
N_TICKS = 5
LETTERS = 150  # total length of axis names that fit side by side
UNITS = (1e-15, 1e15)  # outside this range Plotly writes powers as HTML, which these axes do not render
LABEL = 24  # characters of a name; longer names are cut at the start, because names differ at the end


def parallel(snapshot: Snapshot) -> Figure:
    """Return the figure."""
    scored = snapshot.scored()
    axes = by_importance(snapshot)[:MOST_AXES]
    if not scored or not axes:
        return nothing("no trial has reported the metric yet" if axes else "the sweep varies no param")
    params = [flat_params(trial["params"]) for trial, _ in scored]
    values = [value for _, value in scored]
    dimensions = [_dimension(axis, [axis.place(each) for each in params]) for axis in axes]
    objective = {"label": plain(snapshot.metric), "values": values, **_format(values)}
    trace: dict[str, Any] = {
        "type": "parcoords",
        # Plotly draws lines with a higher value on top: the best trials.
        "line": {"color": [-value * snapshot.goal.sign for value in values], "colorscale": BY_QUALITY},
        "dimensions": [*dimensions, objective],
        "customdata": [trial["number"] for trial, _ in scored],
    }
    longest = max(len(axis.name) for axis in axes)
    is_crowded = longest * len(dimensions) > LETTERS
    if is_crowded:
        trace["labelangle"] = -25
    return figure([trace], margin={"t": 120 if is_crowded else 60, "l": 110, "r": 60, "b": 30}, height=480)


def _dimension(axis: Axis, places: list[float | None]) -> dict[str, Any]:
    known = [axis.scaled(place) for place in places if place is not None]
    # Trials without the param (in another branch of a nested space) are below the lowest value of the axis.
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    below = low - (high - low or 1.0) * 0.1
    values = [below if place is None else axis.scaled(place) for place in places]
    name = axis.name if len(axis.name) <= LABEL else f"…{axis.name[1 - LABEL :]}"
    shown: dict[str, Any] = {"label": plain(name), "values": values}
    if axis.categories:
        labels = axis.labels()  # not escaped: Plotly does not interpret HTML in these labels
        shown |= {"tickvals": list(range(len(labels))), "ticktext": labels}
        shown["range"] = [below if None in places else 0, max(len(labels) - 1, 1)]
    elif axis.is_log:
        ticks = [low + (high - low) * index / (N_TICKS - 1) for index in range(N_TICKS)]
        shown |= {"tickvals": ticks, "ticktext": [f"{axis.unscaled(tick):.3g}" for tick in ticks]}
    else:
        shown |= _format(values)
    return shown


def _format(values: list[float]) -> dict[str, str]:
    most = max(map(abs, values))
    return {} if most == 0 or UNITS[0] <= most < UNITS[1] else {"tickformat": ".3~g"}
