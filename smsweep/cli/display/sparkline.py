"""A curve in one line of text."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.-~=+*#"  # for terminals without Unicode, from low to high


def sparkline(values: Sequence[float], width: int, *, is_ascii: bool = False) -> str:
    """Return at most `width` characters, one for each value or, of more values, for the mean of a stretch.

    values: finite, oldest first. The lowest and the highest shown give the scale; "" for none.
    """
    levels = ASCII if is_ascii else BLOCKS
    n = min(width, len(values))
    means = [fmean(values[i * len(values) // n : (i + 1) * len(values) // n]) for i in range(n)]
    low, high = min(means, default=0.0), max(means, default=0.0)
    scale = high - low
    if not 0 < scale < float("inf"):
        return levels[len(levels) // 2 - 1] * n
    return "".join(levels[min(int((mean - low) / scale * len(levels)), len(levels) - 1)] for mean in means)
