"""When and where each trial ran: one row per worker, as far as places and times distinguish them."""

from __future__ import annotations

import heapq
from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

from smsweep.core.json_documents import TrialFields
from smsweep.report.browser_text import plain
from smsweep.report.figures.common import COLORS, Figure, axis, figure, nothing
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
        xaxis=axis("time, UTC; for a retried trial, the last attempt", type="date"),
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
