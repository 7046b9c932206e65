"""Ax's search with its default method and the given seed."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import torch
from ax.api.client import Client
from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig
from lines import Form, Sweep, forms, serve  # type: ignore[import-not-found]  # beside this script

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
torch.set_num_threads(1)


class Ax:
    def __init__(self, sweep: Sweep, seed: int) -> None:
        self._forms = forms(sweep)
        self._client = Client(random_seed=seed)
        searched = {name: form for name, form in self._forms.items() if form.kind != "constant"}
        self._client.configure_experiment(parameters=[config(name, form) for name, form in searched.items()])
        sign = "" if sweep["metric"].get("goal") == "maximize" else "-"
        self._client.configure_optimization(objective=f"{sign}objective")
        self._client.configure_generation_strategy(
            method="fast", initialization_random_seed=seed, allow_exceeding_initialization_budget=True
        )
        self._numbers: dict[int, int] = {}

    def ask(self, number: int) -> dict[str, Any]:
        ((index, drawn),) = self._client.get_next_trials(max_trials=1).items()
        self._numbers[number] = index
        return {
            name: form.values[0] if form.kind == "constant" else form.value(drawn[name])
            for name, form in self._forms.items()
        }

    def tell(self, number: int, value: float) -> None:
        self._client.complete_trial(trial_index=self._numbers[number], raw_data={"objective": value})


def config(name: str, form: Form) -> Any:
    if form.kind == "choice":
        kind = "bool" if isinstance(form.values[0], bool) else "str"
        return ChoiceParameterConfig(name=name, values=list(form.values), parameter_type=kind)
    scaling = "log" if form.is_log else "linear"
    bounds = (int(form.low), int(form.high)) if form.kind == "int" else (float(form.low), float(form.high))
    return RangeParameterConfig(name=name, bounds=bounds, parameter_type=form.kind, scaling=scaling)


if __name__ == "__main__":
    serve(Ax)
