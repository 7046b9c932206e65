"""A curve in one line of text."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.-~=+*#"  # for terminals without Unicode, from low to high


def sparkline(values: Sequence[float], width: int, *, is_ascii: bool = False) -> str:
    """Return a curve of at most `width` characters.

    Args:
        values: Finite numbers, oldest first. More than `width` values are averaged in groups.
        width: In characters.
        is_ascii: Use ASCII characters instead of block characters.

    Returns:
        One character per value or group, scaled from the lowest to the highest; "" without values.
    """
    levels = ASCII if is_ascii else BLOCKS
    n = min(width, len(values))
    means = [fmean(values[i * len(values) // n : (i + 1) * len(values) // n]) for i in range(n)]
    low, high = min(means, default=0.0), max(means, default=0.0)
    scale = high - low
    if not 0 < scale < float("inf"):
        return levels[len(levels) // 2 - 1] * n
    return "".join(levels[min(int((mean - low) / scale * len(levels)), len(levels) - 1)] for mean in means)
