"""How often an agent saves its store in S3: the larger the store, the less often."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

SHORTEST = timedelta(seconds=2)
LONGEST = timedelta(minutes=5)
BYTES_PER_S = 100_000  # of the packed store, on average, besides what is saved before jobs start and end
KEY = "saves_every_s"  # in an agent's sign of life


def save_interval(n_bytes: int) -> timedelta:
    """Return how long news may wait before they are saved.

    Args:
        n_bytes: Size of the packed store. 200 kB and less give 2 s, 1 MB 10 s, 30 MB and more 5 minutes.
    """
    return min(max(timedelta(seconds=n_bytes / BYTES_PER_S), SHORTEST), LONGEST)


def interval_of(sign: Mapping[str, Any]) -> timedelta:
    """Return the interval that an agent's sign of life states; the shortest for any other document."""
    stated = sign.get(KEY)
    if not isinstance(stated, int | float) or not 0 <= stated <= LONGEST.total_seconds():
        return SHORTEST
    return timedelta(seconds=stated)
