"""A trial: one assignment of params with its state and metrics; and the history of a sweep's trials."""

from __future__ import annotations

import bisect
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, TypeGuard, overload

Params = Mapping[str, Any]  # nested as in the sweep's YAML: {"lr": 0.1, "optimizer": {"name": "sgd"}}
Scalar = float | int | bool | str | None  # value of a metric; a float can be NaN or infinite


class TrialState(str, Enum):
    """The state of a trial."""

    PENDING = "pending"  # waits for an agent
    RUNNING = "running"  # claimed by an agent; its job starts, runs, or waits in the backend's queue
    STOPPING = "stopping"  # asked to end; its last metrics still count
    FINISHED = "finished"  # the script exited with code 0
    FAILED = "failed"  # the script failed
    CRASHED = "crashed"  # the job was lost
    STOPPED = "stopped"  # ended early by a stopping rule
    KILLED = "killed"  # ended by the user

    @property
    def is_terminal(self) -> bool:
        """True if the trial has ended."""
        return self in TERMINAL

    @property
    def is_active(self) -> bool:
        """True if the trial can have a live job."""
        return self in (TrialState.RUNNING, TrialState.STOPPING)


TERMINAL = frozenset(
    {TrialState.FINISHED, TrialState.FAILED, TrialState.CRASHED, TrialState.STOPPED, TrialState.KILLED}
)


def ended_of(counts: Mapping[str, int], expected: int | None) -> str:
    """Return how many trials have ended, such as `16 of 36 ended`.

    Args:
        counts: The number of trials by state.
        expected: The number of trials that the sweep will have; None if unlimited.
    """
    n_ended = sum(n for state, n in counts.items() if TrialState(state).is_terminal)
    return f"{n_ended} ended" if expected is None else f"{n_ended} of {expected} ended"


# A retry, automatic or by the user, moves a trial from every final state except `finished` to pending.
MOVES: Mapping[TrialState, frozenset[TrialState]] = {
    TrialState.PENDING: frozenset({TrialState.RUNNING, TrialState.KILLED, TrialState.PENDING}),
    TrialState.RUNNING: TERMINAL | {TrialState.STOPPING, TrialState.PENDING},
    TrialState.STOPPING: TERMINAL | {TrialState.PENDING},
    TrialState.FINISHED: frozenset(),
    TrialState.FAILED: frozenset({TrialState.PENDING}),
    TrialState.CRASHED: frozenset({TrialState.PENDING}),
    TrialState.STOPPED: frozenset({TrialState.PENDING}),
    TrialState.KILLED: frozenset({TrialState.PENDING}),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricPoint:
    """One value that a script reported."""

    name: str  # nested names are joined by dots: "val.loss"
    value: Scalar
    step: int | None = None  # step that the script gave; None for a value from a printed line
    time: datetime  # aware UTC, when it was reported


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricStats:
    """Statistics of one metric of a trial."""

    last: Scalar = None  # newest value of any type
    count: int = 0  # finite numbers (bool, text and NaN do not count)
    min: float = math.inf  # of the finite numbers
    max: float = -math.inf
    step: int | None = field(default=None, compare=False)  # step of the newest value
    before: tuple[int, float, float] | None = field(default=None, compare=False)  # count, min, max without it

    def add(self, value: Scalar, step: int | None = None) -> MetricStats:
        """Return the statistics with one more value. A value with the last step replaces the last value."""
        count, low, high = known = (self.count, self.min, self.max)
        if step is not None and step == self.step and self.before is not None:
            count, low, high = known = self.before
        if is_number(value):
            number = float(value)
            count, low, high = count + 1, min(low, number), max(high, number)
        before = None if step is None else known
        return MetricStats(last=value, count=count, min=low, max=high, step=step, before=before)


def flat_params(params: Params, prefix: str = "") -> dict[str, Any]:
    """Return params with nested names joined by dots, as in the columns of a table."""
    flat: dict[str, Any] = {}
    for name, value in params.items():
        if not isinstance(value, (str, float, int)) and isinstance(value, Mapping):  # the second test is slow
            flat |= flat_params(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def is_number(value: object) -> TypeGuard[int | float]:
    """Return True if a value can be compared: a finite number, and not a bool."""
    if type(value) is float:
        return math.isfinite(value)
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False  # an int that is too large for a float


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """A snapshot of one trial. The store can have a newer state."""

    sweep_id: str = ""
    number: int  # from 0, in the order of creation; never reused within a sweep
    params: Params  # as assigned; values that the script logs do not change them
    state: TrialState = TrialState.PENDING
    attempt: int = 0  # from 0; each attempt has its own job
    reason: str = ""  # why the trial is in this state, for the user; "" for no reason
    # Who asked the trial to end: "rule", "pause" (a rule that can promote it later), "person" (the user), "agent";
    # "" for nobody.
    asked_by: str = ""
    job_name: str = ""  # job of the current attempt; "" before the first claim
    # Backend and host, such as "process@host". Of a pending trial: where its checkpoints are; "" if any.
    place: str = ""
    place_name: str = ""  # place in the list of its agent, such as "local"; "" for an agent with one backend
    agent_id: str = ""  # agent that holds the trial; "" for none
    lease_expires_at: datetime | None = None  # aware UTC; None if no agent holds the trial
    created_at: datetime | None = None
    started_at: datetime | None = None  # first claim of the current attempt
    ended_at: datetime | None = None
    exit_code: int | None = None  # of the script; None if unknown
    cursor: str = ""  # read position in the job's log; opaque, from the backend
    n_points: int = 0  # number of stored points; a later attempt can replace points
    metrics: Mapping[str, MetricStats] = field(default_factory=dict)
    summary: Mapping[str, Scalar] = field(default_factory=dict)  # values that the script set in its summary
    curve: tuple[float, ...] = ()  # finite values of the sweep's metric, oldest first; () if not requested
    retries: Mapping[str, int] = field(default_factory=dict)  # failure class -> number of retries so far
    usage: Mapping[str, Any] = field(default_factory=dict)  # of all its jobs; see outcome.usage_after
    revision: int = 0  # grows with each change in the sweep; 0 outside a store
    is_removed: bool = False  # removed by the user; its params can be tried again
    confirms: int | None = None  # number of the trial that this one repeats with a new seed; None for none
    repeat: int = 0  # which repeat of that trial, from 1; 0 for none

    @property
    def label(self) -> str:
        """`SWEEP/NUMBER`, as commands accept it."""
        return f"{self.sweep_id}/{self.number}"

    @property
    def is_paused(self) -> bool:
        """True if the stopping rule stopped the trial, and can promote it later."""
        return self.state is TrialState.STOPPED and self.asked_by == "pause"


@dataclass(frozen=True, kw_only=True, slots=True)
class StopDecision:
    """The decision of a stopping rule to end one running trial.

    Raises:
        ValueError: If the reason is empty.
    """

    number: int
    reason: str  # not empty; names rule, band, value and threshold
    evidence: Mapping[str, Any] = field(default_factory=dict)  # the facts of the reason, for programs
    is_pause: bool = False  # the rule can promote the trial later

    def __post_init__(self) -> None:
        if not self.reason:
            raise ValueError("a stop needs a reason")


class History(Sequence[Trial]):
    """The trials of one sweep, sorted by number, with incremental reads of changes.

    A strategy that keeps derived data calls `since(cursor)` and updates its data with the changes only. So the
    100,000th trial costs as much as the 10th. Removed trials are not in the sequence, but `since` returns their
    numbers.

    Args:
        trials: The trials of the sweep.
        prior: Trials of earlier sweeps, which never change.
    """

    def __init__(self, trials: Iterable[Trial] = (), prior: Iterable[Trial] = ()) -> None:
        self._trials: dict[int, Trial] = {}
        self._numbers: list[int] = []  # ascending
        self._log: list[int] = []  # numbers in the order of their changes
        self.prior: tuple[Trial, ...] = tuple(prior)  # trials of earlier sweeps
        self.next_number = 0  # highest number so far plus 1, including removed trials
        self._removed: set[int] = set()  # numbers
        self.counts: Counter[TrialState] = Counter()  # trials in each state
        self.update(trials)

    def update(self, trials: Iterable[Trial]) -> None:
        """Add trials, or replace the snapshots of known trials."""
        for trial in trials:
            number = trial.number
            self._removed.discard(number)
            self.next_number = max(self.next_number, number + 1)
            self._log.append(number)
            known = self._trials.pop(number, None)
            if known is not None:
                self.counts[known.state] -= 1
            if trial.is_removed:
                self._removed.add(number)
                if known is not None:
                    del self._numbers[bisect.bisect_left(self._numbers, number)]
                continue
            if known is None:
                bisect.insort(self._numbers, number)
            self._trials[number] = trial
            self.counts[trial.state] += 1

    @property
    def has_gaps(self) -> bool:
        """True if a trial below `next_number` is missing, so that no decision must be made from this history."""
        return len(self._trials) + len(self._removed) < self.next_number

    def since(self, cursor: int) -> tuple[list[int], int]:
        """Return what changed after a cursor.

        Args:
            cursor: The cursor of the last call; 0 for all trials.

        Returns:
            The numbers of the changed trials, each once, and the next cursor. If `get` returns None for a
            number, the trial was removed.
        """
        return list(dict.fromkeys(self._log[cursor:])), len(self._log)

    def get(self, number: int) -> Trial | None:
        """Return the trial with a number; None if it does not exist or was removed."""
        return self._trials.get(number)

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[Trial]:
        return (self._trials[number] for number in self._numbers)

    @overload
    def __getitem__(self, index: int) -> Trial: ...
    @overload
    def __getitem__(self, index: slice) -> list[Trial]: ...
    def __getitem__(self, index: int | slice) -> Trial | list[Trial]:
        """Return a trial by position. After a removal, positions and numbers differ."""
        if isinstance(index, slice):
            return [self._trials[number] for number in self._numbers[index]]
        return self._trials[self._numbers[index]]
