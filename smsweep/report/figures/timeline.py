"""Plots over time: when each trial ran, and what the sweep has cost."""

from __future__ import annotations

import heapq
from collections import defaultdict
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any

from smsweep.core.json_documents import Row, TrialFields
from smsweep.report.axes import plain
from smsweep.report.figures.common import BEST, COLORS, Figure, axis, dots, figure, nothing, view
from smsweep.report.snapshot import Snapshot


def timeline(snapshot: Snapshot) -> Figure:
    """Return the figure."""
    ran = [trial for trial in snapshot.trials if trial["started_at"]]
    if not ran:
        return nothing("no trial has run yet")
    lanes = lanes_of(snapshot)
    traces = []
    for state in dict.fromkeys(trial["state"] for trial in ran):
        group = [trial for trial in ran if trial["state"] == state]
        spans = [span(trial, snapshot.made_at) for trial in group]
        traces.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": state,
                "base": [start.isoformat() for start, _ in spans],
                "x": [(end - start) / timedelta(milliseconds=1) for start, end in spans],
                "y": [lanes[trial["number"]] for trial in group],
                "customdata": [trial["number"] for trial in group],
                "marker": {"color": COLORS[state], "line": {"width": 0}},
                "hovertemplate": "trial %{customdata}<br>%{base}<br>%{y}<extra></extra>",
            }
        )
    rows = sorted(set(lanes.values()), key=_row_order)
    return figure(
        traces,
        barmode="overlay",
        bargap=0.15,
        xaxis=axis("time (UTC)", type="date"),
        yaxis={"automargin": True, "type": "category", "categoryarray": rows[::-1], "categoryorder": "array"},
        height=min(140 + 24 * len(rows), 1_200),
    )


def lanes_of(snapshot: Snapshot) -> dict[int, str]:
    """Return the row of each trial that ran: its place, and the first free worker in this place."""
    by_place: dict[str, list[TrialFields]] = defaultdict(list)
    for trial in snapshot.trials:
        if trial["started_at"]:
            by_place[trial["place"]].append(trial)
    lanes: dict[int, str] = {}
    for place, trials in by_place.items():
        busy: list[tuple[datetime, int]] = []  # end of its trial, worker
        free: list[int] = []
        for trial in sorted(trials, key=lambda trial: str(trial["started_at"])):
            start, end = span(trial, snapshot.made_at)
            while busy and busy[0][0] <= start:
                heapq.heappush(free, heapq.heappop(busy)[1])
            worker = heapq.heappop(free) if free else len(busy) + 1
            heapq.heappush(busy, (end, worker))
            lanes[trial["number"]] = f"{plain(place)} #{worker}"
    return lanes


def span(trial: TrialFields, now: datetime) -> tuple[datetime, datetime]:
    """Return the start and end of a trial. The end of a running trial is `now`."""
    assert trial["started_at"] is not None
    start = datetime.fromisoformat(trial["started_at"])
    end = datetime.fromisoformat(trial["ended_at"]) if trial["ended_at"] else now
    return start, max(end, start)


def _row_order(row: str) -> tuple[Any, ...]:
    place, _, worker = row.rpartition("#")
    return place, int(worker)


def cost(snapshot: Snapshot) -> Figure:
    """Return the figure."""
    ended = sorted(
        (trial for trial in snapshot.trials if trial["started_at"] and trial["ended_at"]),
        key=lambda trial: str(trial["ended_at"]),
    )
    values = {trial["number"]: value for trial, value in snapshot.scored()}
    spent, unit = _spent(ended, snapshot)
    steps = [
        (total, values[trial["number"]], trial["number"])
        for trial, total in zip(ended, accumulate(spent), strict=True)
        if trial["number"] in values
    ]
    if not steps:
        return nothing("no trial has ended with the metric yet")
    best = snapshot.best_so_far(value for _, value, _ in steps)
    is_better = [
        index for index in range(len(best)) if best[index] != best[index - 1] or index in (0, len(best) - 1)
    ]
    totals, numbers = [steps[index][0] for index in is_better], [steps[index][2] for index in is_better]
    best = [best[index] for index in is_better]
    line = {"shape": "hv", "color": BEST}
    marker = {"color": BEST, "size": 5}
    trace = dots(totals, best, numbers, mode="lines+markers", line=line, marker=marker)
    meta = view((["yaxis"], snapshot.goal.sign), is_whole=True)
    return figure([trace], xaxis=axis(f"spent so far, {unit}"), yaxis=axis(f"best {snapshot.metric}"), meta=meta)


def _spent(trials: list[TrialFields], snapshot: Snapshot) -> tuple[list[float], str]:
    """Return the cost of each trial in the first unit that is known for any of them, and that unit."""
    for key, scale, unit in (("usd", 1.0, "dollars"), ("instance_s", 3600.0, "instance hours")):
        usages: list[Row] = [trial["usage"] for trial in trials]
        if any(usage.get(key) for usage in usages):
            return [usage.get(key, 0.0) / scale for usage in usages], unit
    spans = (span(trial, snapshot.made_at) for trial in trials)
    return [(end - start) / timedelta(seconds=1) for start, end in spans], "seconds of trials"
