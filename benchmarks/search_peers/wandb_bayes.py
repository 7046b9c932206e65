"""W&B's bayes search, from W&B's published package `sweeps`."""

from __future__ import annotations

import random
import warnings
from typing import Any

import numpy as np
from lines import Sweep, serve  # type: ignore[import-not-found]  # beside this script
from sweeps import RunState  # type: ignore[import-not-found]  # not in ours
from sweeps.bayes_search import bayes_search_next_runs  # type: ignore[import-not-found]  # not in ours

warnings.filterwarnings("ignore")


class Wandb:
    def __init__(self, sweep: Sweep, seed: int) -> None:
        random.seed(seed)
        np.random.seed(seed)
        self._config = {"method": "bayes", "metric": sweep["metric"], "parameters": sweep["parameters"]}
        self._metric = sweep["metric"]["name"]
        self._runs: list[Any] = []

    def ask(self, number: int) -> dict[str, Any]:
        (run,) = bayes_search_next_runs(self._runs, self._config, n=1)
        run.name, run.state = str(number), RunState.running
        self._runs.append(run)
        values = {name: item["value"] for name, item in run.config.items()}
        return {name: value.item() if hasattr(value, "item") else value for name, value in values.items()}

    def tell(self, number: int, value: float) -> None:
        run = self._runs[number]
        run.state = RunState.finished
        run.history, run.summary_metrics = [{self._metric: value}], {self._metric: value}


if __name__ == "__main__":
    serve(Wandb)
