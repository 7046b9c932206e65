"""Token buckets: no API is called faster than it is allowed to, and slower after it has complained."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from smsweep.errors import Throttled

SLOWER = 0.5  # of the rate, after each complaint
SLOWEST = 0.05  # of the rate at the start
FASTER = 1.05  # after each call that was answered, until the rate is what it was at the start
# Calls a second that AWS allows an account and region, where it names a number.
LIMITS: Mapping[str, float] = {"CreateTrainingJob": 1.0, "ListTrainingJobs": 2.0, "FilterLogEvents": 5.0}


class Bucket:
    """Holds one second's worth of calls, at least one.

    clock: seconds, monotonic. limit: what AWS allows in any one second; with it the bucket holds only what is
    left of that beside the rate, so that a full bucket and a second's rate together stay within it.
    """

    def __init__(self, rate: float, clock: Callable[[], float], limit: float | None = None) -> None:
        self.rate = rate  # calls a second, as it is now
        self._full_rate = rate
        self._limit = limit if limit is not None and rate <= limit else None
        self._clock = clock
        self._tokens = self._size
        self._counted_at = clock()

    @property
    def _size(self) -> float:
        return max(1.0, self.rate if self._limit is None else self._limit - self._full_rate)

    def take(self) -> bool:
        """Take a token if there is one."""
        now = self._clock()
        self._tokens = min(self._size, self._tokens + (now - self._counted_at) * self.rate)
        self._counted_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def slow_down(self) -> None:
        self.rate = max(self._full_rate * SLOWEST, self.rate * SLOWER)
        self._tokens = 0.0

    def speed_up(self) -> None:
        self.rate = min(self._full_rate, self.rate * FASTER)


class Rates:
    """One bucket for each API that has a rate; the others are free."""

    def __init__(self, rates: Mapping[str, float], clock: Callable[[], float]) -> None:
        self._buckets = {action: Bucket(rate, clock, LIMITS.get(action)) for action, rate in rates.items()}

    def take(self, action: str) -> bool:
        bucket = self._buckets.get(action)
        return bucket is None or bucket.take()

    def demand(self, action: str) -> None:
        """Take a token. Raises Throttled when there is none now."""
        if not self.take(action):
            err = Throttled(f"{action}: waits its turn, {self._buckets[action].rate:.2g} a second")
            err.is_unsent = True
            raise err

    def note(self, action: str, *, was_throttled: bool) -> None:
        """Learn from how AWS answered."""
        bucket = self._buckets.get(action)
        if bucket is not None:
            bucket.slow_down() if was_throttled else bucket.speed_up()
