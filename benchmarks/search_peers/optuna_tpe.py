"""Optuna's default search with the settings that Optuna recommends for concurrent trials."""

from __future__ import annotations

import warnings
from typing import Any

import optuna
from lines import Sweep, serve  # type: ignore[import-not-found]  # beside this script

warnings.filterwarnings("ignore")
optuna.logging.set_verbosity(optuna.logging.ERROR)


class Optuna:
    def __init__(self, sweep: Sweep, seed: int) -> None:
        sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
        self._study = optuna.create_study(direction=sweep["metric"].get("goal", "minimize"), sampler=sampler)
        self._parameters = sweep["parameters"]
        self._trials: dict[int, Any] = {}

    def ask(self, number: int) -> dict[str, Any]:
        trial = self._trials[number] = self._study.ask()
        return {name: drawn(trial, name, spec) for name, spec in self._parameters.items()}

    def tell(self, number: int, value: float) -> None:
        self._study.tell(self._trials[number], value)


def drawn(trial: Any, name: str, spec: dict[str, Any]) -> Any:
    """Return the trial's value of a parameter of a sweep."""
    if "value" in spec:
        return spec["value"]
    if "values" in spec:
        return trial.suggest_categorical(name, spec["values"])
    low, high, q = spec["min"], spec["max"], spec.get("q")
    if "log" in spec.get("distribution", ""):
        value = trial.suggest_float(name, low, high, log=True)
        return max(round(value / q), 1) * q if q else value
    if q:
        return trial.suggest_float(name, low, high, step=q)
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(name, low, high)
    return trial.suggest_float(name, low, high)


if __name__ == "__main__":
    serve(Optuna)
