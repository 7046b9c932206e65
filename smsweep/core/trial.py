"""A trial: one assignment of params, its state and what it reported; and the history of a sweep's trials."""

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
Scalar = float | int | bool | str | None  # what a metric may be; NaN and the infinities are floats


class TrialState(str, Enum):
    PENDING = "pending"  # waits for an agent
    RUNNING = "running"  # claimed; its job is starting, at work, or waiting in the backend's queue
    STOPPING = "stopping"  # was told to end; its last metrics still count
    FINISHED = "finished"  # the script ended with exit code 0
    FAILED = "failed"  # the script said no
    CRASHED = "crashed"  # lost without a verdict
    STOPPED = "stopped"  # ended early by a rule
    KILLED = "killed"  # ended by a person

    @property
    def is_terminal(self) -> bool:
        return self in TERMINAL

    @property
    def is_active(self) -> bool:
        """Whether a job may be alive for it."""
        return self in (TrialState.RUNNING, TrialState.STOPPING)


TERMINAL = frozenset(
    {TrialState.FINISHED, TrialState.FAILED, TrialState.CRASHED, TrialState.STOPPED, TrialState.KILLED}
)

# A retry, by policy or by a person, leads from any end but `finished` back to pending with attempt + 1.
MOVES: Mapping[TrialState, frozenset[TrialState]] = {
    TrialState.PENDING: frozenset({TrialState.RUNNING, TrialState.KILLED}),
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

    name: str  # nested metrics are flattened: "val.loss"
    value: Scalar
    step: int | None = None  # the script's own step; None for a value matched in a printed line
    time: datetime  # aware UTC, when it was reported


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricStats:
    """What a trial said of one metric so far."""

    last: Scalar = None  # the newest value of any kind
    count: int = 0  # finite numbers seen (bools, text and NaN do not count)
    min: float = math.inf  # of those
    max: float = -math.inf
    step: int | None = field(default=None, compare=False)  # of the newest value; None where it has none
    before: tuple[int, float, float] | None = field(default=None, compare=False)  # count, min, max without it

    def add(self, value: Scalar, step: int | None = None) -> MetricStats:
        """Take in the next value. One more for the step of the last one takes its place, as it does in a row."""
        count, low, high = known = (self.count, self.min, self.max)
        if step is not None and step == self.step and self.before is not None:
            count, low, high = known = self.before
        if is_number(value):
            number = float(value)
            count, low, high = count + 1, min(low, number), max(high, number)
        before = None if step is None else known
        return MetricStats(last=value, count=count, min=low, max=high, step=step, before=before)


def flat_params(params: Params, prefix: str = "") -> dict[str, Any]:
    """Return params with nested names joined by dots, as columns of a table have them."""
    flat: dict[str, Any] = {}
    for name, value in params.items():
        if isinstance(value, Mapping):
            flat |= flat_params(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def is_number(value: object) -> TypeGuard[int | float]:
    """Tell whether a reported value can be compared: finite as a float, and not a bool."""
    if type(value) is float:
        return math.isfinite(value)
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False  # an int beyond all floats


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One assignment of params and all that is known of it. A snapshot: the store holds the truth."""

    sweep_id: str = ""
    number: int  # from 0, in the order proposed; never used twice within a sweep
    params: Params  # as assigned; never what the script logs about itself
    state: TrialState = TrialState.PENDING
    attempt: int = 0  # from 0; one job per (number, attempt)
    reason: str = ""  # why it is in this state, for a person; "" when there is nothing to say
    asked_by: str = ""  # who asked it to end: "rule", "person", "agent"; "" when nobody did
    job_name: str = ""  # of the current attempt; "" before the first claim
    place: str = ""  # backend and where it runs, such as "process@host"; "" before the first claim
    agent_id: str = ""  # who holds it; "" when nobody does
    lease_expires_at: datetime | None = None  # aware UTC; None when nobody holds it
    created_at: datetime | None = None
    started_at: datetime | None = None  # first claim of the current attempt
    ended_at: datetime | None = None
    exit_code: int | None = None  # of the script, where the backend could tell
    cursor: str = ""  # how far the job's log has been read; the backend's own words
    n_points: int = 0  # points stored so far and not replaced by a later attempt
    metrics: Mapping[str, MetricStats] = field(default_factory=dict)
    summary: Mapping[str, Scalar] = field(default_factory=dict)  # what the script set as its own summary
    curve: tuple[float, ...] = ()  # finite values of the sweep's metric, oldest first, one a row; if asked for
    retries: Mapping[str, int] = field(default_factory=dict)  # class of failure -> times it was retried after one
    usage: Mapping[str, Any] = field(default_factory=dict)  # of all its jobs; see verdicts.usage_after
    revision: int = 0  # grows with every change in the sweep; 0 outside a store
    is_removed: bool = False  # taken out of the sweep by a person; its params are free again

    @property
    def label(self) -> str:
        return f"{self.sweep_id}/{self.number}"


@dataclass(frozen=True, kw_only=True, slots=True)
class StopDecision:
    """A rule's verdict on one running trial."""

    number: int
    reason: str  # never empty: rule, band, value, threshold
    evidence: Mapping[str, Any] = field(default_factory=dict)  # the same for programs, as far as it applies

    def __post_init__(self) -> None:
        if not self.reason:
            raise ValueError("a stop needs a reason")


class History(Sequence[Trial]):
    """The trials of one sweep in order of number, and cheap answers to what changed since.

    A strategy that keeps something it derived asks `since(cursor)` and folds in only the changes, so that
    the 100,000th trial costs what the 10th did. Removed trials are not in the sequence; `since` tells of them.
    """

    def __init__(self, trials: Iterable[Trial] = (), prior: Iterable[Trial] = ()) -> None:
        self._trials: dict[int, Trial] = {}
        self._numbers: list[int] = []  # ascending
        self._log: list[int] = []  # numbers in the order they changed
        self.prior: tuple[Trial, ...] = tuple(prior)  # of earlier sweeps, fixed
        self.next_number = 0  # one more than the highest number ever seen, removed ones included
        self._removed: set[int] = set()  # numbers
        self.counts: Counter[TrialState] = Counter()  # trials in each state
        self.update(trials)

    def update(self, trials: Iterable[Trial]) -> None:
        """Take in new snapshots; a later one of the same number replaces the earlier."""
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
        """Whether trials below next_number are missing here: what comes next is not to be decided like this."""
        return len(self._trials) + len(self._removed) < self.next_number

    def since(self, cursor: int) -> tuple[list[int], int]:
        """Return the numbers that changed after `cursor` (each once) and the cursor to ask with next.

        A number that `get` no longer knows was removed. cursor: 0 for everything.
        """
        return list(dict.fromkeys(self._log[cursor:])), len(self._log)

    def get(self, number: int) -> Trial | None:
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
        """By position, not by number: after a removal the two differ."""
        if isinstance(index, slice):
            return [self._trials[number] for number in self._numbers[index]]
        return self._trials[self._numbers[index]]
