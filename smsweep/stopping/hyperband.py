"""Hyperband as W&B implements it: at each band, stop each trial that is not among the best 1/eta."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable

from smsweep.core.sweep import Metric
from smsweep.errors import ConfigError
from smsweep.stopping.base import HyperbandOptions
from smsweep.stopping.rungs import RungRule

MAX_BANDS = 100  # counted up from min_iter, as in W&B
MAX_POINTS = 10**15  # no trial reports more points, so a later band is never reached


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
    found = {int(band) for band in itertools.takewhile(lambda band: 1 <= band <= MAX_POINTS, steps)}
    if not found:
        raise ConfigError(
            "early_terminate: these numbers leave no band to compare trials at; raise max_iter or lower min_iter"
        )
    return sorted(found)
