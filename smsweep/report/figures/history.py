"""The objective of every trial in order of proposal, and the best so far."""

from __future__ import annotations

from itertools import groupby

from smsweep.report.figures.common import BEST, COLORS, SYMBOLS, Figure, axis, dots, figure, nothing
from smsweep.report.snapshot import Snapshot

MANY = 1_000  # trials; with more, the marks are smaller


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
    return figure([*traces, line], xaxis=axis("trial"), yaxis=axis(snapshot.metric))
