"""What an agent knows of a trial that it has taken."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from smsweep.core.job import Price
from smsweep.core.trial import Trial, TrialState


@dataclass(slots=True)
class Held:
    """A trial in one of an agent's slots."""

    trial: Trial
    is_taken_over: bool  # another agent started it
    is_submitted: bool = False
    may_have_job: bool = False  # an earlier submission's answer is unknown: look before believing there is none
    was_told: bool = False  # its job has been told to end
    _since_s: float = field(default_factory=time.monotonic)

    @property
    def watched_s(self) -> float | None:
        """Seconds since this agent started the trial, by the monotonic clock; None if another agent started it."""
        return None if self.is_taken_over else time.monotonic() - self._since_s


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentOptions:
    parallel: int = 1  # slots
    count: int | None = None  # trials to start, then leave; None for no limit
    longest_sleep_s: float = 0.25  # between two looks when nothing happens
    retries: Mapping[str, int] = field(default_factory=dict)  # class of failure -> times, where not as usual
    price: Price | None = None  # of one instance; None where nobody knows
    grace_s: float | None = None  # from SIGTERM to SIGKILL; None: as the backend has it


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What one agent did."""

    ended: dict[TrialState, int]  # trials that ended in its hands, by state
    trouble: str = ""  # why it gave up; "" when it did not
    asked_by: str = ""  # who asked it to go: "person" (Ctrl-C), "machine" (SIGTERM); "" when nobody did
