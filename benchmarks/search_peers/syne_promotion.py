"""Syne Tune's promotion ASHA, with the params of the sweep's `points` in this order."""

from __future__ import annotations

import contextlib
import logging
import sys
from datetime import datetime, timezone
from typing import Any

from lines import Sweep, serve  # type: ignore[import-not-found]  # beside this script

with contextlib.redirect_stdout(sys.stderr):  # Syne Tune prints messages about missing packages
    from syne_tune.backend.trial_status import Trial
    from syne_tune.config_space import choice, finrange, lograndint, loguniform, randint, uniform
    from syne_tune.optimizer.baselines import ASHA
    from syne_tune.optimizer.scheduler import SchedulerDecision

logging.getLogger().setLevel(logging.ERROR)


class Promotion:
    def __init__(self, sweep: Sweep, seed: int) -> None:
        rule, self._metric = sweep["early_terminate"], sweep["metric"]["name"]
        options: dict[str, Any] = {
            "config_space": {name: domain(spec) for name, spec in sweep["parameters"].items()},
            "metric": self._metric,
            "mode": sweep["metric"].get("goal", "minimize")[:3],
            "resource_attr": "epoch",
            "max_t": sweep["length"],
            "grace_period": rule["min_iter"],
            "random_seed": seed,
        }
        options |= {"points_to_evaluate": sweep["points"], "search_options": {"debug_log": False}}
        self._scheduler = ASHA(**options, type="promotion", reduction_factor=rule.get("eta", 3))
        self._trials: dict[int, Trial] = {}
        self._lengths: dict[int, int] = {}
        self._next: Any = None  # a suggestion to start a trial

    def resume(self) -> int | None:
        if self._next is not None:  # no trial is left to start
            number = self._scheduler._promote_trial(str(len(self._trials)))[0]
            return None if number is None else int(number)
        suggestion = self._scheduler.suggest(len(self._trials))
        if suggestion is None:  # the space has no other params, and no trial is promoted
            return None
        if suggestion.spawn_new_trial_id:
            self._next = suggestion
            return None
        return int(suggestion.checkpoint_trial_id)

    def ask(self, number: int, params: dict[str, Any] | None = None) -> dict[str, Any]:
        config, self._next = self._next.config, None
        self._trials[number] = Trial(number, config, datetime.now(timezone.utc))
        self._scheduler.on_trial_add(self._trials[number])
        return dict(config) if params is None else params

    def stops(self, number: int, value: float) -> bool:
        self._lengths[number] = self._lengths.get(number, 0) + 1
        result = {self._metric: value, "epoch": self._lengths[number]}
        decision = self._scheduler.on_trial_result(self._trials[number], result)
        return bool(decision != SchedulerDecision.CONTINUE)

    def tell(self, number: int, value: float) -> None:
        """Do nothing: the scheduler decided on the end of the trial itself."""


def domain(spec: dict[str, Any]) -> Any:
    """Return the domain of a parameter of a sweep."""
    if "value" in spec:
        return spec["value"]
    if "values" in spec:
        return choice(spec["values"])
    low, high, q = spec["min"], spec["max"], spec.get("q")
    is_log = "log" in spec.get("distribution", "")
    if q and is_log:
        return choice([q * i for i in range(round(low / q), round(high / q) + 1)])
    if q:
        return finrange(low, high, round((high - low) / q) + 1)
    if isinstance(low, int) and isinstance(high, int):
        return (lograndint if is_log else randint)(low, high)
    return (loguniform if is_log else uniform)(low, high)


if __name__ == "__main__":
    serve(Promotion)
