"""SMAC3's facade for hyperparameter optimization with its default settings."""

from __future__ import annotations

import sys
import tempfile
import types
import warnings
from typing import Any

# Only limits of time and memory need pynisher, which has no wheel. SMAC imports these names.
sys.modules["pynisher"] = types.ModuleType("pynisher")
vars(sys.modules["pynisher"]).update(MemoryLimitException=OSError, WallTimeoutException=OSError, limit=None)

from ConfigSpace import Categorical, ConfigurationSpace, Float, Integer  # noqa: E402 - needs the lines above
from lines import Form, Sweep, forms, serve  # type: ignore[import-not-found]  # noqa: E402
from smac import HyperparameterOptimizationFacade, Scenario  # noqa: E402
from smac.runhistory import TrialInfo, TrialValue  # noqa: E402

warnings.filterwarnings("ignore")


class Smac:
    def __init__(self, sweep: Sweep, seed: int) -> None:
        self._forms = forms(sweep)
        space = ConfigurationSpace(seed=seed)
        for name, form in self._forms.items():
            if form.kind != "constant":
                space.add(hyperparameter(name, form))
        self._sign = -1 if sweep["metric"].get("goal") == "maximize" else 1
        scenario = Scenario(
            space,
            deterministic=True,
            n_trials=sweep["run_cap"],
            seed=seed,
            output_directory=tempfile.mkdtemp(prefix="smac-"),
        )
        self._smac = HyperparameterOptimizationFacade(scenario, never_called, logging_level=False, overwrite=True)
        self._asked: dict[int, TrialInfo] = {}

    def ask(self, number: int) -> dict[str, Any]:
        info = self._asked[number] = self._smac.ask()
        drawn = dict(info.config)
        return {
            name: form.values[0] if form.kind == "constant" else form.value(drawn[name])
            for name, form in self._forms.items()
        }

    def tell(self, number: int, value: float) -> None:
        self._smac.tell(self._asked[number], TrialValue(cost=self._sign * value), save=False)


def never_called(config: object, seed: int = 0) -> float:
    raise NotImplementedError  # trials run outside of SMAC


def hyperparameter(name: str, form: Form) -> Any:
    if form.kind == "choice":
        return Categorical(name, [value if isinstance(value, str) else bool(value) for value in form.values])
    if form.kind == "int":
        return Integer(name, (int(form.low), int(form.high)), log=form.is_log)
    return Float(name, (float(form.low), float(form.high)), log=form.is_log)


if __name__ == "__main__":
    serve(Smac)
