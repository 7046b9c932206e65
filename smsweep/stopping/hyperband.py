"""Hyperband as W&B reads it: at each band, stop what is not among the best 1/eta."""

from __future__ import annotations

import bisect
import itertools
import operator
from dataclasses import dataclass

from smsweep.errors import ConfigError
from smsweep.sweeps import EarlyTerminate, SweepConfig
from smsweep.trials import History, StopDecision, Trial, TrialState

MAX_BANDS = 100  # counted up from min_iter, as in W&B
MAX_POINTS = 10**15  # no trial reports more; a band beyond it is never reached


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """What the rule keeps of one trial; of values, lower is better."""

    at_bands: tuple[float, ...]  # one for each band that it has reached
    best: float  # of all its values


class Hyperband:
    """Judges each running trial at the highest band it has reached.

    A band is a number of points of the sweep's metric, not a step. Of all n trials that got there, in
    whatever state they are now, the value at place n/eta counted from the best is the threshold; what is
    worse is stopped. So the best trial, a lone one and their equals never are, and a trial may be stopped
    between bands when others push the threshold. Trials of earlier sweeps do not count.

    With `strict` a trial's value at the band is compared, else the best it ever had.
    Raises ConfigError when the config names no metric or leads to no band.
    Source: W&B's package `sweeps` 0.3.0, after arXiv:1603.06560.
    """

    def __init__(self, config: SweepConfig) -> None:
        if config.early_terminate is None or config.metric is None:
            raise ConfigError("early_terminate: hyperband compares trials by the sweep's metric; add `metric`")
        self._metric = config.metric
        self._eta = config.early_terminate.eta
        self._is_strict = config.early_terminate.strict
        self._bands = bands(config.early_terminate)
        self._history: History | None = None
        self._restart()

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
        # 1/eta first: W&B rounds in this order
        threshold = peers[int(1.0 / self._eta * len(peers))]
        value = standing.at_bands[-1] if self._is_strict else standing.best
        if value <= threshold:
            return None
        name, sign, band = self._metric.name, self._metric.goal.sign, self._bands[n_bands - 1]
        subject = name if self._is_strict else f"best {name}"
        return StopDecision(
            number=number,
            reason=(
                f"hyperband: at band {band} its {subject} {sign * value:g} is worse than {sign * threshold:g}, "
                f"the threshold of the {len(peers)} trials with {band} points"
            ),
        )


def bands(rule: EarlyTerminate) -> list[int]:
    """Return the numbers of points at which trials are compared, ascending.

    max_iter and s: max_iter divided by eta up to s times, itself left out. Else min_iter multiplied by eta.
    Raises ConfigError when that leaves none.
    """
    if not rule.eta > 1:
        raise ConfigError(f"early_terminate.eta: must be above 1, got {rule.eta}")
    eta = rule.eta
    if rule.max_iter is not None:
        if rule.s is None:
            raise ConfigError("early_terminate.max_iter: needs s, the number of bands below it; add `s`")
        steps = itertools.accumulate(
            itertools.repeat(eta, rule.s - 1), operator.truediv, initial=rule.max_iter / eta
        )
    elif rule.min_iter is not None:
        steps = itertools.accumulate(itertools.repeat(eta, MAX_BANDS - 1), operator.mul, initial=rule.min_iter)
    else:
        raise ConfigError("early_terminate: hyperband needs min_iter, or max_iter and s")
    found = {int(band) for band in itertools.takewhile(lambda band: 1 <= band <= MAX_POINTS, steps)}
    if not found:
        raise ConfigError(
            "early_terminate: these numbers leave no band to compare trials at; raise max_iter or s, or lower eta"
        )
    return sorted(found)
