"""The options of an agent, requests to shut it down, its held trials, and its result."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from smsweep.core.trial import Trial, TrialState


@dataclass(slots=True)
class HeldTrial:
    """A trial in one of an agent's slots."""

    trial: Trial
    is_taken_over: bool  # another agent started it
    is_submitted: bool = False
    may_have_job: bool = False  # an earlier submission may have started a job: ask the backend first
    is_stop_sent: bool = False  # this agent stopped the job
    _since_s: float = field(default_factory=time.monotonic)

    @property
    def watched_s(self) -> float | None:
        """Seconds since this agent started the trial, by a monotonic clock; None if another agent started it."""
        return None if self.is_taken_over else time.monotonic() - self._since_s


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentOptions:
    """The options of an agent."""

    count: int | None = None  # exit after starting so many trials; None for no limit
    until: frozenset[int] | None = None  # add no trials, and exit once these trials have ended; None for no limit
    longest_sleep_s: float = 0.25  # between two ticks if nothing happens
    retries: Mapping[str, int] = field(default_factory=dict)  # failure class -> retries, where not the default
    grace_s: float | None = None  # from SIGTERM to SIGKILL; None for the backend's default


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class AgentResult:
    """The result of one agent."""

    ended: dict[TrialState, int]  # final state -> number of trials that this agent ended
    trouble: str = ""  # why the agent gave up; "" if it did not
    asked_by: str = ""  # "person" after Ctrl-C, "machine" after SIGTERM; "" if the agent exited by itself

    def __repr__(self) -> str:
        ended = (
            ", ".join(f"{count} {state.value}" for state, count in self.ended.items() if count) or "no trial ended"
        )
        cause = {"person": "interrupted", "machine": "terminated"}.get(self.asked_by, "")
        return f"<AgentResult: {'; '.join(filter(None, [ended, cause, self.trouble.partition(':')[0]]))}>"


class HandOver(SystemExit):
    """Exit the agent while its jobs continue, so that another agent takes them over."""


class ShutdownLevel(IntEnum):
    """How urgently an agent must exit. Each further Ctrl-C is one level more."""

    NO = 0  # continue
    DRAIN = 1  # start no more trials, let running trials finish
    STOP = 2  # stop running trials, with their grace period
    KILL = 3  # kill running trials at once
