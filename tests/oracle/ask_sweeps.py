"""Answer questions with W&B's package `sweeps`. Runs in that package's environment.

stdin: {"op": ..., "cases": [...]}; stdout: one answer per case.
"""

from __future__ import annotations

import json
import random
import sys
import warnings
from collections.abc import Callable
from typing import Any

from sweeps import RunState, SweepRun, next_runs, stop_runs  # type: ignore[import-not-found]  # not in ours
from sweeps.params import HyperParameter  # type: ignore[import-not-found]  # not in ours


def plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def ppf(case: dict[str, Any]) -> list[Any]:
    parameter = HyperParameter("p", case["parameter"])
    return [plain(parameter.ppf(u)) for u in case["us"]]


def cdf(case: dict[str, Any]) -> list[float]:
    parameter = HyperParameter("p", case["parameter"])
    return [float(parameter.cdf(value)) for value in case["values"]]


def params_of(run: SweepRun) -> dict[str, Any]:
    return {name: unwrap(item["value"]) for name, item in run.config.items()}


def unwrap(value: Any) -> Any:
    return {k: unwrap(v) for k, v in value.items()} if isinstance(value, dict) else plain(value)


def grid(case: dict[str, Any]) -> list[dict[str, Any]]:
    runs = [
        SweepRun(state=RunState(run["state"]), config={k: {"value": v} for k, v in run["params"].items()})
        for run in case["runs"]
    ]
    config = {"method": "grid", "parameters": case["parameters"]}
    return [params_of(run) for run in next_runs(config, runs, n=case["n"]) if run is not None]


def draw(case: dict[str, Any]) -> list[dict[str, Any]]:
    random.seed(case["seed"])
    config = {"method": "random", "parameters": case["parameters"]}
    return [params_of(run) for run in next_runs(config, [], n=case["n"])]


def stop(case: dict[str, Any]) -> list[int]:
    runs = [
        SweepRun(
            name=str(number),
            state=RunState(run["state"]),
            history=run["history"],
            summary_metrics=run.get("summary", {}),
        )
        for number, run in enumerate(case["runs"])
    ]
    return [int(run.name) for run in stop_runs(case["config"], runs)]


OPS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "ppf": ppf,
    "cdf": cdf,
    "grid": grid,
    "draw": draw,
    "stop": stop,
}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    question = json.load(sys.stdin)
    json.dump([OPS[question["op"]](case) for case in question["cases"]], sys.stdout)
