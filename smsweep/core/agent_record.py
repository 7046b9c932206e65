"""The record of an agent that works on a sweep, and the orders that the user gives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

HEARTBEAT_S = 20.0  # between two heartbeats of an agent
LOST_AFTER_S = 60.0  # an agent without a heartbeat for this long no longer runs
FORGOTTEN_AFTER_S = 86_400.0  # an agent without a heartbeat for this long is not listed if it holds no trial

ORDERS = ("drain", "stop")


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentRecord:
    """An agent, as it was at its last heartbeat."""

    id: str  # HOST:PID:TOKEN
    sweep_id: str
    slots: Mapping[str, int] = field(default_factory=dict)  # place -> trials that can run there at the same time
    version: str = ""  # of smsweep
    started_at: datetime | None = None  # aware UTC
    seen_at: datetime | None = None  # the last heartbeat
    silent_s: float = 0.0  # since the last heartbeat, by the clock of the store
    order: str = ""  # drain: start no more trials; stop: return the running trials to the queue; "" for none
    parallel: int | None = None  # number of slots that the user set; None if not set
    trials: tuple[int, ...] = ()  # numbers of the active trials that the agent holds

    @property
    def host(self) -> str:
        """The name of its machine."""
        return self.id.partition(":")[0]

    @property
    def is_lost(self) -> bool:
        """True if the agent no longer sends heartbeats."""
        return self.silent_s > LOST_AFTER_S

    @property
    def is_forgotten(self) -> bool:
        """True if the agent was lost long ago, and no trial waits for another agent because of that."""
        return self.silent_s > FORGOTTEN_AFTER_S and not self.trials
