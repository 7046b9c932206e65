"""What keeps new jobs back while AWS has no room for them: an account's quota, or a lack of machines."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass

from smsweep.errors import CapacityError, JobError, QuotaExceeded

FIRST_PAUSE_S = 15.0
LONGEST_PAUSE_S = 300.0


@dataclass(slots=True)
class _Gate:
    error: JobError  # why it is closed
    opens_at: float  # monotonic seconds
    pause_s: float
    n_live: int  # our jobs of that kind when it was closed


class Gates:
    """One gate for each kind of machine. monotonic: seconds.

    A gate opens after a while, each time a longer one; that of a quota also when one of our own jobs has ended,
    because only then there is room. Jobs that are stopping have not ended.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._gates: dict[str, _Gate] = {}

    def check(self, kind: str, n_live: int) -> None:
        """Raises QuotaExceeded or CapacityError while the gate is closed. n_live: our jobs of that kind."""
        gate = self._gates.get(kind)
        if gate is None:
            return
        has_room = isinstance(gate.error, QuotaExceeded) and n_live < gate.n_live
        if not has_room and self._monotonic() < gate.opens_at:
            err = copy(gate.error)
            err.is_unsent = True
            raise err

    def close(self, kind: str, error: JobError, n_live: int) -> None:
        before = self._gates.get(kind)
        pause_s = min(LONGEST_PAUSE_S, 2 * before.pause_s) if before else FIRST_PAUSE_S
        self._gates[kind] = _Gate(error, self._monotonic() + pause_s, pause_s, n_live)

    def close_for_capacity(self, kind: str, reason: str) -> None:
        self.close(kind, CapacityError(f"{kind}: {reason}; waiting before the next try"), n_live=0)

    def open(self, kind: str, n_live: int) -> None:
        """A job of that kind was accepted. n_live: our jobs of that kind now.

        A quota that was met stays known: up to as many jobs there is room, and no call is made beyond.
        """
        gate = self._gates.get(kind)
        if gate is not None and not (isinstance(gate.error, QuotaExceeded) and n_live <= gate.n_live):
            del self._gates[kind]
