"""Token buckets, which limit the calls of each API, and pauses after AWS has refused a job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass

from smsweep.errors import CapacityError, JobError, QuotaExceeded, Throttled

SLOWER = 0.5  # factor of the rate after a throttled call
SLOWEST = 0.05  # of the initial rate
FASTER = 1.05  # factor of the rate after each other call, up to the initial rate
# Calls per second that AWS allows per account and region, as far as AWS documents them.
LIMITS: Mapping[str, float] = {"CreateTrainingJob": 1.0, "ListTrainingJobs": 2.0, "FilterLogEvents": 5.0}
FIRST_PAUSE_S = 15.0  # after a refused job; each further pause is twice as long
MAX_PAUSE_S = 300.0


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


@dataclass(slots=True)
class _Backoff:
    error: JobError  # why AWS started no job
    ends_at: float  # monotonic seconds
    pause_s: float
    n_live: int  # live jobs of this agent, of that kind, when AWS refused the job


class Backoffs:
    """One pause for each kind of machine.

    Each pause of a kind is twice as long as the one before. The pause for a quota also ends when a job of this
    agent has ended. Jobs that are stopping have not ended.

    Args:
        monotonic: The time in seconds.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._backoffs: dict[str, _Backoff] = {}

    def check(self, kind: str, n_live: int) -> None:
        """Raise QuotaExceeded or CapacityError during a pause. n_live: live jobs of this agent, of that kind."""
        backoff = self._backoffs.get(kind)
        if backoff is None:
            return
        has_room = isinstance(backoff.error, QuotaExceeded) and n_live < backoff.n_live
        if not has_room and self._monotonic() < backoff.ends_at:
            err = copy(backoff.error)
            err.is_unsent = True
            raise err

    def start(self, kind: str, error: JobError, n_live: int) -> None:
        before = self._backoffs.get(kind)
        pause_s = min(MAX_PAUSE_S, 2 * before.pause_s) if before else FIRST_PAUSE_S
        self._backoffs[kind] = _Backoff(error, self._monotonic() + pause_s, pause_s, n_live)

    def start_for_capacity(self, kind: str, reason: str) -> None:
        self.start(kind, CapacityError(f"{kind}: {reason}; waiting before the next attempt"), n_live=0)

    def end(self, kind: str, n_live: int) -> None:
        """End the pause of a kind after AWS has accepted a job. n_live: live jobs of this agent, of that kind.

        A quota that was reached stays known. Up to that number of jobs, new ones are submitted without a pause.
        """
        backoff = self._backoffs.get(kind)
        if backoff is not None and not (isinstance(backoff.error, QuotaExceeded) and n_live <= backoff.n_live):
            del self._backoffs[kind]
