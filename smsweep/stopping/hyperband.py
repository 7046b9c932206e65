"""Hyperband as W&B reads it: at each band, stop what is not among the best 1/eta."""

from __future__ import annotations

import itertools
import operator

from smsweep.core.sweep import EarlyTerminate, SweepConfig
from smsweep.errors import ConfigError
from smsweep.stopping.rungs import RungRule

MAX_BANDS = 100  # counted up from min_iter, as in W&B
MAX_POINTS = 10**15  # no trial reports more; a band beyond it is never reached


class Hyperband(RungRule):
    """Stops what is worse than the value at place n/eta of the n that reached the band, counted from the best.

    Raises ConfigError when the config names no metric or leads to no band.
    Source: W&B's package `sweeps` 0.3.0, after arXiv:1603.06560.
    """

    def __init__(self, config: SweepConfig) -> None:
        if config.early_terminate is None or config.metric is None:
            raise ConfigError("early_terminate: hyperband compares trials by the sweep's metric; add `metric`")
        self._eta = config.early_terminate.eta
        super().__init__(config.metric, config.early_terminate, bands(config.early_terminate))

    def place(self, n: int) -> int:
        return int(1.0 / self._eta * n)  # 1/eta first: W&B rounds in this order


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
