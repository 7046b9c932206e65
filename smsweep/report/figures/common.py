"""Colors and helpers for all figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from smsweep.report.axes import plain

Figure = dict[str, Any]

# Colors that users with red-green color blindness can distinguish (Okabe and Ito), on white and on black.
COLORS: Mapping[str, str] = {
    "finished": "#0072b2",
    "running": "#56b4e9",
    "stopping": "#56b4e9",
    "pending": "#999999",
    "stopped": "#e69f00",
    "killed": "#cc79a7",
    "failed": "#d55e00",
    "crashed": "#d55e00",
}
SYMBOLS: Mapping[str, str] = {"stopped": "diamond", "killed": "square", "running": "circle-open"}
BEST = "#009e73"
SCALE = "Cividis"  # of surfaces; readable with all kinds of color blindness
GREY, BLUE, ORANGE = "#9aa5ab", "#0072b2", "#e69f00"  # visible on white and on black
BY_QUALITY = [[0, ORANGE], [0.5, GREY], [1, BLUE]]  # from the worst to the best
BY_AGE = [[0, GREY], [1, BLUE]]


def figure(data: Iterable[Mapping[str, Any]], **layout: Any) -> Figure:
    """Return a figure with the common layout."""
    return {"data": list(data), "layout": {"margin": {"t": 30, "r": 20}, "hovermode": "closest", **layout}}


def view(*groups: tuple[Sequence[str], int], **more: Any) -> dict[str, Any]:
    """Return what `static/figure_view.js` reads in a figure's `layout.meta`.

    Args:
        groups: Axes with the same values, and their sign: 1 if low values are good, -1 if high values are, or 0.
        more: `many`: show the best trials only if there are more than this; `best`: how many then. `most`: show at
            most so many trials. `drops`: leave out traces without points. `is_grid`: one column where the page is
            narrow. `caption`: text below the figure. `is_whole`: a filter of the trials has no effect.
    """
    return {"groups": [{"axes": list(axes), "sign": sign} for axes, sign in groups], **more}


def nothing(why: str) -> Figure:
    """Return an empty figure with a text that explains why."""
    text = [{"text": plain(why), "showarrow": False}]
    return figure([], annotations=text, xaxis=HIDDEN, yaxis=HIDDEN, height=120)


HIDDEN = {"visible": False}


def axis(title: str, **more: Any) -> dict[str, Any]:
    """Return an axis with a title."""
    return {"title": {"text": plain(title)}, "automargin": True, **more}


def dots(x: list[Any], y: list[Any], numbers: list[int], **more: Any) -> dict[str, Any]:
    """Return a trace with one point per trial. A click on a point opens the trial in the page."""
    return {
        "type": "scatter",
        "mode": "markers",
        "x": x,
        "y": y,
        "customdata": numbers,
        "hovertemplate": "trial %{customdata}<br>%{x}<br>%{y}<extra></extra>",
        **more,
    }


def menu(labels: list[str], traces_each: int, layouts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return Plotly's menu that shows one group of traces at a time."""
    buttons = []
    for index, (label, layout) in enumerate(zip(labels, layouts, strict=True)):
        visible = [group == index for group in range(len(labels)) for _ in range(traces_each)]
        buttons.append({"label": plain(label), "method": "update", "args": [{"visible": visible}, layout]})
    return [{"buttons": buttons, "x": 0, "xanchor": "left", "y": 1.15, "yanchor": "bottom"}] if labels[1:] else []
