"""A clock that changes only when a test sets it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone


class FakeClock:
    """A clock for tests."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone.utc)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
