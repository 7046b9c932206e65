"""W&B's hyperband with random search or with bayes search, as set by the sweep's `method`."""

from __future__ import annotations

import random
import warnings
from typing import Any

import numpy as np
from lines import Sweep, serve  # type: ignore[import-not-found]  # beside this script
from sweeps import RunState, next_runs, stop_runs  # type: ignore[import-not-found]  # not in ours

warnings.filterwarnings("ignore")


class Hyperband:
    def __init__(self, sweep: Sweep, seed: int) -> None:
        random.seed(seed)
        np.random.seed(seed)
        keys = ("method", "metric", "parameters", "early_terminate")
        self._config = {key: sweep[key] for key in keys if key in sweep}
        self._metric = sweep["metric"]["name"]
        self._runs: list[Any] = []

    def ask(self, number: int, params: dict[str, Any] | None = None) -> dict[str, Any]:
        (run,) = next_runs(self._config, self._runs, n=1)
        if params is not None:
            run.config = {name: {"value": value} for name, value in params.items()}
        run.name, run.state = str(number), RunState.running
        self._runs.append(run)
        values = {name: item["value"] for name, item in run.config.items()}
        return {name: value.item() if hasattr(value, "item") else value for name, value in values.items()}

    def stops(self, number: int, value: float) -> bool:
        run = self._runs[number]
        run.history.append({self._metric: value})
        return any(stopped is run for stopped in stop_runs(self._config, self._runs))

    def tell(self, number: int, value: float) -> None:
        run = self._runs[number]
        run.state, run.summary_metrics = RunState.finished, {self._metric: value}


if __name__ == "__main__":
    serve(Hyperband)
