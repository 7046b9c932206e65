"""Reduce the number of points in a figure, because a browser needs seconds to draw thousands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
Point = tuple[int, float]  # position in the curve, starting at 1; value


def thin(values: Sequence[float], n: int) -> list[Point]:
    """Return about n points of a curve, in order: the first, the last, and low and high points between them.

    Args:
        values: The curve.
        n: Number of points, at least 4. A shorter curve is returned completely.
    """
    points = list(enumerate(values, 1))
    if len(points) <= n:
        return points
    n_buckets = (n - 2) // 2
    inner = points[1:-1]
    kept = [points[0]]
    for index in range(n_buckets):
        bucket = inner[index * len(inner) // n_buckets : (index + 1) * len(inner) // n_buckets]
        ends = {min(bucket, key=_value), max(bucket, key=_value)}
        kept += sorted(ends)
    return [*kept, points[-1]]


def some(items: Sequence[T], n: int) -> list[T]:
    """Return n items, evenly distributed from first to last; all items if there are at most n."""
    if len(items) <= n:
        return list(items)
    return [items[index * (len(items) - 1) // (n - 1)] for index in range(n)]


def _value(point: Point) -> float:
    return point[1]
