"""What hyperband and successive halving have in common: rungs, each with a threshold set by all who came there."""

from __future__ import annotations

import bisect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from smsweep.core.sweep import EarlyTerminate, Metric
from smsweep.core.trial import History, StopDecision, Trial, TrialState
from smsweep.stopping.base import told_apart


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """What the rule keeps of one trial; of values, lower is better."""

    at_bands: tuple[float, ...]  # one for each band that it has reached
    best: float  # of all its values


class RungRule(ABC):
    """Judges each running trial at the highest band it has reached.

    A band is a number of points of the sweep's metric, not a step. All trials that got there count, in
    whatever state they are now; those of earlier sweeps do not. What is worse than the threshold is stopped, so
    the best trial, a lone one and their equals never are; a trial may be stopped between bands when others push
    the threshold. With `strict` a trial's value at the band is compared, else the best it ever had.
    """

    def __init__(self, metric: Metric, rule: EarlyTerminate, bands: Sequence[int]) -> None:
        """bands: ascending, at least one."""
        self._metric = metric
        self._rule = rule
        self._bands = bands
        self._history: History | None = None
        self._restart()

    @abstractmethod
    def place(self, n: int) -> int:
        """Return which of n values, from 0 for the best, is the last to survive."""

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
            self._fold_in(number, history.get(number))
        decisions = (self._verdict(number) for number in sorted(self._running))
        return [decision for decision in decisions if decision is not None]

    def _fold_in(self, number: int, trial: Trial | None) -> None:
        before = self._standings.pop(number, None)
        standing = self._standing(trial) if trial is not None else None
        old = before.at_bands if before is not None else ()
        new = standing.at_bands if standing is not None else ()
        if new[: len(old)] != old:  # removed, or an attempt that starts over
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

    def _standing(self, trial: Trial) -> Standing | None:
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
        threshold = peers[self.place(len(peers))]
        value = standing.at_bands[-1] if self._rule.strict else standing.best
        if value <= threshold:
            return None
        name, sign, band = self._metric.name, self._metric.goal.sign, self._bands[n_bands - 1]
        is_at, limit = told_apart(sign * value, sign * threshold)
        subject = name if self._rule.strict else f"best {name}"
        return StopDecision(
            number=number,
            evidence={
                "rule": self._rule.type,
                "metric": name,
                "band": band,
                "value": sign * value,
                "threshold": sign * threshold,
                "peers": len(peers),
            },
            reason=(
                f"{self._rule.type}: at band {band} its {subject} {is_at} is worse than "
                f"{limit}, the threshold of the {len(peers)} trials with {band} points"
            ),
        )
