"""The best objective over its cost: dollars, instance hours, or the trials' own time."""

from __future__ import annotations

from datetime import timedelta
from itertools import accumulate

from smsweep.core.json_documents import Row, TrialFields
from smsweep.report.figures.common import BEST, Figure, axis, dots, figure, nothing
from smsweep.report.figures.timeline import span
from smsweep.report.snapshot import Snapshot


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
    return figure([trace], xaxis=axis(f"spent so far, {unit}"), yaxis=axis(f"best {snapshot.metric}"))


def _spent(trials: list[TrialFields], snapshot: Snapshot) -> tuple[list[float], str]:
    """Return the cost of each trial in the first unit that is known for any of them, and that unit."""
    for key, scale, unit in (("usd", 1.0, "dollars"), ("instance_s", 3600.0, "instance hours")):
        usages: list[Row] = [trial["usage"] for trial in trials]
        if any(usage.get(key) for usage in usages):
            return [usage.get(key, 0.0) / scale for usage in usages], unit
    spans = (span(trial, snapshot.made_at) for trial in trials)
    return [(end - start) / timedelta(seconds=1) for start, end in spans], "seconds of trials"
