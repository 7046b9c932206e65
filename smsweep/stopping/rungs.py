"""The common part of hyperband and successive halving: rungs, each with a threshold that all its trials set."""

from __future__ import annotations

import bisect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from smsweep.core.sweep import Metric
from smsweep.core.trial import History, StopDecision, Trial, TrialState
from smsweep.stopping.base import distinct_texts


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """The values of one trial, with the sign that makes lower better."""

    at_bands: tuple[float, ...]  # one value for each band that the trial has reached
    best: float  # of all its values


class RungRule(ABC):
    """Judges each running trial at the highest band that it has reached.

    A band is a number of points of the sweep's metric, not a step. All trials that reached the band count, in any
    state; trials of earlier sweeps do not. A trial that is worse than the threshold is stopped. The best trial,
    a trial without peers, and trials equal to them are never stopped. A trial can be stopped between bands if
    other trials move the threshold.

    Args:
        metric: The metric that trials are compared by.
        bands: Numbers of points, ascending; at least one.
        is_strict: Compare the value at the band. False compares the best value of the trial so far.
    """

    name: ClassVar[str]

    def __init__(self, metric: Metric, bands: Sequence[int], *, is_strict: bool) -> None:
        self._metric = metric
        self._is_strict = is_strict
        self._bands = bands
        self._history: History | None = None
        self._restart()

    @abstractmethod
    def rank(self, n: int) -> int:
        """Return the rank of the last of n values that survives; the best value has rank 0."""

    def _restart(self) -> None:
        self._cursor = 0
        self._standings: dict[int, Standing] = {}  # of trials that reached the first band
        self._running: set[int] = set()
        self._values: list[list[float]] = [[] for _ in self._bands]  # at each band, ascending

    def judge(self, history: History) -> list[StopDecision]:
        if history is not self._history:
            self._restart()
            self._history = history
        changed, self._cursor = history.since(self._cursor)
        for number in changed:
            self._update(number, history.get(number))
        decisions = (self._verdict(number) for number in sorted(self._running))
        return [decision for decision in decisions if decision is not None]

    def _update(self, number: int, trial: Trial | None) -> None:
        before = self._standings.pop(number, None)
        standing = self._standing_of(trial) if trial is not None else None
        old = before.at_bands if before is not None else ()
        new = standing.at_bands if standing is not None else ()
        if new[: len(old)] != old:  # the trial was removed, or a new attempt started
            for values, value in zip(self._values, old, strict=False):
                del values[bisect.bisect_left(values, value)]
            old = ()
        for values, value in zip(self._values[len(old) :], new[len(old) :], strict=False):
            bisect.insort(values, value)
        self._running.discard(number)
        if trial is not None and standing is not None:
            self._standings[number] = standing
            if trial.state is TrialState.RUNNING:
                self._running.add(number)

    def _standing_of(self, trial: Trial) -> Standing | None:
        n_bands = bisect.bisect_right(self._bands, len(trial.curve))
        if not n_bands:
            return None
        sign = self._metric.goal.sign
        at_bands = tuple(sign * trial.curve[band - 1] for band in self._bands[:n_bands])
        return Standing(at_bands=at_bands, best=min(sign * value for value in trial.curve))

    def _verdict(self, number: int) -> StopDecision | None:
        standing = self._standings[number]
        n_bands = len(standing.at_bands)
        peers = self._values[n_bands - 1]
        threshold = peers[self.rank(len(peers))]
        value = standing.at_bands[-1] if self._is_strict else standing.best
        if value <= threshold:
            return None
        name, sign, band = self._metric.name, self._metric.goal.sign, self._bands[n_bands - 1]
        own, limit = distinct_texts(sign * value, sign * threshold)
        subject = name if self._is_strict else f"best {name}"
        return StopDecision(
            number=number,
            evidence={
                "rule": self.name,
                "metric": name,
                "band": band,
                "value": sign * value,
                "threshold": sign * threshold,
                "peers": len(peers),
            },
            reason=(
                f"{self.name}: at band {band} its {subject} {own} is worse than "
                f"{limit}, the threshold of the {len(peers)} trials with {band} points"
            ),
        )
