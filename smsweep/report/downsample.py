"""Fewer points where thousands would take a browser seconds to draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
Point = tuple[int, float]  # place in the curve from 1, value


def thin(values: Sequence[float], n: int) -> list[Point]:
    """Return about n points of a curve, in order: first, last, and the lowest and highest between.

    n: at least 4. A curve of no more points is returned whole.
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
    """Return n items, evenly chosen from first to last; all where there are no more."""
    if len(items) <= n:
        return list(items)
    return [items[index * (len(items) - 1) // (n - 1)] for index in range(n)]


def _value(point: Point) -> float:
    return point[1]
