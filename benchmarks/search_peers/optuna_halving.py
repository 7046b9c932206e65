"""Optuna's successive halving with random search or Optuna's default search, as set by `method`."""

from __future__ import annotations

from typing import Any

import optuna
from lines import Sweep, forms, serve  # type: ignore[import-not-found]  # beside this script
from optuna_tpe import drawn  # type: ignore[import-not-found]  # beside this script


class Halving:
    def __init__(self, sweep: Sweep, seed: int) -> None:
        samplers, rule = optuna.samplers, sweep["early_terminate"]
        is_random = sweep["method"] == "random"
        self._study = optuna.create_study(
            direction=sweep["metric"].get("goal", "minimize"),
            sampler=samplers.RandomSampler(seed=seed) if is_random else samplers.TPESampler(seed=seed),
            pruner=optuna.pruners.SuccessiveHalvingPruner(
                min_resource=rule["min_iter"], reduction_factor=rule.get("eta", 3)
            ),
        )
        self._forms = forms(sweep)
        self._trials: dict[int, Any] = {}
        self._lengths: dict[int, int] = {}
        self._pruned: set[int] = set()

    def ask(self, number: int) -> dict[str, Any]:
        trial = self._trials[number] = self._study.ask()
        return {name: drawn(trial, name, form) for name, form in self._forms.items()}

    def stops(self, number: int, value: float) -> bool:
        self._lengths[number] = self._lengths.get(number, 0) + 1
        self._trials[number].report(value, self._lengths[number])
        is_stopped = bool(self._trials[number].should_prune())
        if is_stopped:
            self._pruned.add(number)
        return is_stopped

    def tell(self, number: int, value: float) -> None:
        if number in self._pruned:
            self._study.tell(self._trials[number], state=optuna.trial.TrialState.PRUNED)
        else:
            self._study.tell(self._trials[number], value)


if __name__ == "__main__":
    serve(Halving)
