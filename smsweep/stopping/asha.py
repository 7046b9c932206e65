"""Asynchronous successive halving: at each rung the best 1/eta continue, and no trial waits for another."""

from __future__ import annotations

from smsweep.core.sweep import Metric
from smsweep.errors import ConfigError
from smsweep.stopping.base import AshaOptions
from smsweep.stopping.hyperband import bands_from
from smsweep.stopping.rungs import RungRule


class Asha(RungRule):
    """Stops each trial that is not among the best n/eta, rounded down, of the n that reached its rung.

    The best trial of a rung always continues. Rungs are at min_iter points, then at eta times as many points each.
    A complete training has max_iter points, so there is no rung at max_iter. A trial is also stopped between rungs
    if better trials fill its rung, because the rule cannot pause a trial and promote it later.

    Args:
        metric: The metric that trials are compared by.
        options: The keys of `early_terminate`.

    Raises:
        ConfigError: The options lead to no rung.

    Source: the stopping variant of arXiv:1810.05934.
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
        super().__init__(metric, rungs, is_strict=options.strict)

    def rank(self, n: int) -> int:
        return max(int(n / self._eta), 1) - 1
