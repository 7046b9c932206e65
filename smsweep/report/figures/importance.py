"""How strongly each param determines whether a trial is among the best."""

from __future__ import annotations

from smsweep.report.browser_text import plain
from smsweep.report.figures.common import COLORS, Figure, axis, figure, nothing
from smsweep.report.importance import BEST_SHARE, LEAST_TRIALS, METHOD, SOURCE, importances
from smsweep.report.snapshot import Snapshot

MOST_BARS = 30


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
        xaxis=axis(f"share of the importance: {method}", tickformat=".0%", range=[0, 1]),
        yaxis={"autorange": "reversed", "automargin": True, "type": "category"},
        height=140 + 26 * len(ranked),
    )


def _correlation_text(correlation: float | None) -> str:
    return "categorical: no rank correlation" if correlation is None else f"rank correlation {correlation:+.2f}"
