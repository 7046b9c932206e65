"""Hyperband as W&B implements it, and asynchronous successive halving (ASHA).

Both compare the trials that have reached a rung, a number of points, with all trials that reached it before.
"""

from __future__ import annotations

import bisect
import itertools
import operator
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from smsweep.core.sweep import Metric
from smsweep.core.trial import History, StopDecision, Trial, TrialState
from smsweep.errors import ConfigError
from smsweep.stopping.base import AshaOptions, HyperbandOptions, distinct_texts

MAX_BANDS = 100  # counted up from min_iter, as in W&B
MAX_POINTS = 10**15  # no trial reports more points, so a later band is never reached


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

    is_pause = False  # decisions of the rule are pauses

    def _restart(self) -> None:
        self._cursor = 0
        self._standings: dict[int, Standing] = {}  # of trials that reached the first band
        self._running: set[int] = set()
        self._paused: set[int] = set()
        self._values: list[list[float]] = [[] for _ in self._bands]  # at each band, ascending

    def judge(self, history: History) -> list[StopDecision]:
        self._follow(history)
        decisions = (self._verdict(number) for number in sorted(self._running))
        return [decision for decision in decisions if decision is not None]

    def _follow(self, history: History) -> None:
        if history is not self._history:
            self._restart()
            self._history = history
        changed, self._cursor = history.since(self._cursor)
        for number in changed:
            self._update(number, history.get(number))

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
        self._paused.discard(number)
        if trial is not None and standing is not None:
            self._standings[number] = standing
            if trial.state is TrialState.RUNNING:
                self._running.add(number)
            elif trial.is_paused:
                self._paused.add(number)

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
            is_pause=self.is_pause,
            reason=(
                f"{self.name}: at band {band} its {subject} {own} is worse than "
                f"{limit}, the threshold of the {len(peers)} trials with {band} points"
            ),
        )


class Hyperband(RungRule):
    """Stops each trial that is worse than the value at rank n/eta of the n trials that reached the band.

    Ranks are counted from the best value.

    Args:
        metric: The metric that trials are compared by.
        options: The keys of `early_terminate`.

    Raises:
        ConfigError: The options lead to no band.

    Source: W&B's package `sweeps` 0.3.0, after arXiv:1603.06560.
    """

    name = "hyperband"

    def __init__(self, metric: Metric, options: HyperbandOptions) -> None:
        self._eta = options.eta
        if options.max_iter is not None and options.s is not None:
            checks = bands_below(options.max_iter, options.eta, options.s)
        else:
            checks = bands_from(options.min_iter or 1, options.eta)
        super().__init__(metric, checks, is_strict=options.strict)

    def rank(self, n: int) -> int:
        return int(1.0 / self._eta * n)  # 1/eta first: W&B rounds in this order


def bands_below(max_iter: int, eta: float, s: int) -> list[int]:
    """Return max_iter divided by eta up to s times, without max_iter, ascending."""
    return _bands(itertools.accumulate(itertools.repeat(eta, s - 1), operator.truediv, initial=max_iter / eta))


def bands_from(min_iter: int, eta: float) -> list[int]:
    """Return min_iter multiplied by eta up to 99 times, with min_iter, ascending."""
    return _bands(itertools.accumulate(itertools.repeat(eta, MAX_BANDS - 1), operator.mul, initial=min_iter))


def _bands(steps: Iterable[float]) -> list[int]:
    bands = {int(band) for band in itertools.takewhile(lambda band: 1 <= band <= MAX_POINTS, steps)}
    if not bands:
        raise ConfigError(
            "early_terminate: these numbers leave no band to compare trials at; raise max_iter or lower min_iter"
        )
    return sorted(bands)


class Asha(RungRule):
    """Stops each trial that is not among the best n/eta, rounded down, of the n that reached its rung.

    The best trial of a rung always continues. Rungs are at min_iter points, then at eta times as many points each.
    A complete training has max_iter points, so there is no rung at max_iter. A trial is also stopped between rungs
    if better trials fill its rung.

    With `promote`, the trials that the rule does not continue are paused. A paused trial is promoted when it is
    among the best n/eta of its highest rung, because more trials reached the rung. It resumes from its checkpoint.

    Args:
        metric: The metric that trials are compared by.
        options: The keys of `early_terminate`.

    Raises:
        ConfigError: The options lead to no rung.

    Source: arXiv:1810.05934; its stopping variant without `promote`.
    """

    name = "asha"

    def __init__(self, metric: Metric, options: AshaOptions) -> None:
        self._eta = options.eta
        end = options.max_iter
        rungs = [rung for rung in bands_from(options.min_iter, options.eta) if end is None or rung < end]
        if not rungs:
            raise ConfigError(
                "early_terminate.max_iter: leaves no check: it must be above min_iter; raise max_iter"
            )
        self.is_pause = options.promote
        super().__init__(metric, rungs, is_strict=options.strict)

    @property
    def promotes(self) -> bool:
        """True if the rule pauses trials."""
        return self.is_pause

    def promotable(self, history: History) -> list[int]:
        """Return the numbers of the paused trials to resume now, highest rung first, then best value first."""
        self._follow(history)
        numbers = [number for number in self._paused if self._verdict(number) is None]
        return sorted(numbers, key=self._order)

    def _order(self, number: int) -> tuple[int, float, int]:
        at_bands = self._standings[number].at_bands
        return -len(at_bands), at_bands[-1], number

    def rank(self, n: int) -> int:
        return max(int(n / self._eta), 1) - 1
