"""Interval between two saves of a store in S3. It grows with the size of the store."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

SHORTEST = timedelta(seconds=2)
LONGEST = timedelta(minutes=5)
BYTES_PER_S = 100_000  # average upload rate of the packed store, without the saves before jobs start and end
KEY = "saves_every_s"  # key in a heartbeat


def save_interval(n_bytes: int) -> timedelta:
    """Return the longest time before changes are saved.

    Args:
        n_bytes: Size of the packed store.

    Returns:
        2 s for up to 200 kB, 10 s for 1 MB, 5 minutes for 30 MB and more.
    """
    return min(max(timedelta(seconds=n_bytes / BYTES_PER_S), SHORTEST), LONGEST)


def interval_of(sign: Mapping[str, Any]) -> timedelta:
    """Return the save interval in a heartbeat; the shortest interval if the heartbeat has no valid one."""
    stated = sign.get(KEY)
    if not isinstance(stated, int | float) or not 0 <= stated <= LONGEST.total_seconds():
        return SHORTEST
    return timedelta(seconds=stated)
