"""Optuna's TPE with the settings that Optuna recommends for concurrent trials, or its GPSampler: `gp`."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import optuna
from lines import Form, Sweep, forms, serve  # type: ignore[import-not-found]  # beside this script

warnings.filterwarnings("ignore")
optuna.logging.set_verbosity(optuna.logging.ERROR)


class Optuna:
    def __init__(self, sweep: Sweep, seed: int) -> None:
        if "gp" in sys.argv:
            sampler = optuna.samplers.GPSampler(seed=seed)
        else:
            sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
        self._study = optuna.create_study(direction=sweep["metric"].get("goal", "minimize"), sampler=sampler)
        self._forms = forms(sweep)
        self._trials: dict[int, Any] = {}

    def ask(self, number: int) -> dict[str, Any]:
        trial = self._trials[number] = self._study.ask()
        return {name: drawn(trial, name, form) for name, form in self._forms.items()}

    def tell(self, number: int, value: float) -> None:
        self._study.tell(self._trials[number], value)


def drawn(trial: Any, name: str, form: Form) -> Any:
    """Return the trial's value of a parameter of a sweep."""
    if form.kind == "constant":
        return form.values[0]
    if form.kind == "choice":
        return trial.suggest_categorical(name, form.values)
    if form.kind == "int":
        return form.value(trial.suggest_int(name, form.low, form.high))
    if form.step and not form.is_log:
        return trial.suggest_float(name, form.low, form.high, step=form.step)
    return form.value(trial.suggest_float(name, form.low, form.high, log=form.is_log))


if __name__ == "__main__":
    serve(Optuna)
