"""Delay new jobs while AWS cannot start them: because of a quota, or because machines are missing."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass

from smsweep.errors import CapacityError, JobError, QuotaExceeded

FIRST_PAUSE_S = 15.0
MAX_PAUSE_S = 300.0


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
