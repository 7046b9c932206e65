"""How much each param decides whether a trial is among the best."""

from __future__ import annotations

from smsweep.report.browser_text import plain
from smsweep.report.figures.common import COLOURS, Figure, axis, figure, nothing
from smsweep.report.importance import BEST_SHARE, LEAST_TRIALS, METHOD, SOURCE, importances
from smsweep.report.snapshot import Snapshot

MOST_BARS = 30


def importance(snapshot: Snapshot) -> Figure:
    found = importances(snapshot)[:MOST_BARS]
    if not found:
        return nothing(f"needs {LEAST_TRIALS} trials with the metric, and a param that differs")
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": [each.share for each in found],
        "y": [plain(each.axis.name) for each in found],
        "text": [_said(each.rank_correlation) for each in found],
        "marker": {"color": COLOURS["finished"]},
        "hovertemplate": "%{y}: %{x:.1%}<br>%{text}<extra></extra>",
        "textposition": "none",
    }
    method = f"{METHOD} ({SOURCE}), best {BEST_SHARE:.0%} of {len(snapshot.scored())} trials against all"
    return figure(
        [bars],
        xaxis=axis(f"share of the importance: {method}", tickformat=".0%", range=[0, 1]),
        yaxis={"autorange": "reversed", "automargin": True, "type": "category"},
        height=140 + 26 * len(found),
    )


def _said(correlation: float | None) -> str:
    return "a choice: no rank correlation" if correlation is None else f"rank correlation {correlation:+.2f}"
