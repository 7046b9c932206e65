"""Asynchronous successive halving: at each rung the best 1/eta go on, and nobody waits for anybody."""

from __future__ import annotations

from dataclasses import replace

from smsweep.core.sweep import SweepConfig
from smsweep.errors import ConfigError
from smsweep.stopping.hyperband import bands
from smsweep.stopping.rungs import RungRule


class Asha(RungRule):
    """Stops what is not among the best n/eta, rounded down, of the n that reached its rung; one may always stay.

    Rungs are at min_iter points and from there eta times as far each; max_iter points are a whole training, so
    none lies there. A trial whose rung fills up with better ones is stopped also between rungs, since here it
    cannot be paused and promoted later.
    Raises ConfigError when the config names no metric or leads to no rung.
    Source: the stopping form of arXiv:1810.05934.
    """

    def __init__(self, config: SweepConfig) -> None:
        rule, metric = config.early_terminate, config.metric
        if rule is None or metric is None:
            raise ConfigError("early_terminate: asha compares trials by the sweep's metric; add `metric`")
        if rule.min_iter is None:
            raise ConfigError("early_terminate: asha needs min_iter, the number of points at the first rung")
        self._eta = rule.eta
        end = rule.max_iter
        rungs = [rung for rung in bands(replace(rule, max_iter=None)) if end is None or rung < end]
        if not rungs:
            raise ConfigError("early_terminate.max_iter: must be above min_iter, or nobody is ever compared")
        super().__init__(metric, rule, rungs)

    def place(self, n: int) -> int:
        return max(int(n / self._eta), 1) - 1
