"""Token buckets limit the calls of each API. After AWS has throttled a call, the rate is lower."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from smsweep.errors import Throttled

SLOWER = 0.5  # factor of the rate after a throttled call
SLOWEST = 0.05  # of the initial rate
FASTER = 1.05  # factor of the rate after each other call, up to the initial rate
# Calls per second that AWS allows per account and region, as far as AWS documents them.
LIMITS: Mapping[str, float] = {"CreateTrainingJob": 1.0, "ListTrainingJobs": 2.0, "FilterLogEvents": 5.0}


class TokenBucket:
    """Holds the calls of one second, at least one.

    Args:
        rate: Calls per second.
        clock: The monotonic time in seconds.
        limit: The calls that AWS allows in any second. The size of the bucket is then the limit minus the rate, so
            that a full bucket and the calls of one second are within the limit.
    """

    def __init__(self, rate: float, clock: Callable[[], float], limit: float | None = None) -> None:
        self.rate = rate  # calls per second, at present
        self._full_rate = rate
        self._limit = limit if limit is not None and rate <= limit else None
        self._clock = clock
        self._tokens = self._size
        self._counted_at = clock()

    @property
    def _size(self) -> float:
        return max(1.0, self.rate if self._limit is None else self._limit - self._full_rate)

    def take(self) -> bool:
        """Take a token. Return False if there is none."""
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


class RateLimits:
    """One bucket for each API that has a rate. Other APIs have no limit."""

    def __init__(self, rates: Mapping[str, float], clock: Callable[[], float]) -> None:
        self._buckets = {action: TokenBucket(rate, clock, LIMITS.get(action)) for action, rate in rates.items()}

    def take(self, action: str) -> bool:
        bucket = self._buckets.get(action)
        return bucket is None or bucket.take()

    def demand(self, action: str) -> None:
        """Take a token. Raises Throttled if there is none."""
        if not self.take(action):
            err = Throttled(
                f"{action}: waits for its rate limit, {self._buckets[action].rate:.2g} calls per second"
            )
            err.is_unsent = True
            raise err

    def note(self, action: str, *, was_throttled: bool) -> None:
        """Adapt the rate to an answer of AWS."""
        bucket = self._buckets.get(action)
        if bucket is not None:
            bucket.slow_down() if was_throttled else bucket.speed_up()
