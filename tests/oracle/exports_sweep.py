"""Create a sweep with all kinds of params, metrics and final states, and export it in every format.

Runs in an environment with smsweep and the requirements of the exports. stdin: null; stdout: the ids of a
sweep with one metric and of a sweep with two metrics, and the JSON exports of the first sweep.
"""

from __future__ import annotations

import json
import math

import smsweep
from smsweep.services.export import export

PARAMETERS = {
    "lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1.0},
    "wide": {"distribution": "uniform", "min": -2.5, "max": 2.5},
    "layers": {"min": 1, "max": 8},
    "batch": {"distribution": "q_uniform", "min": 16, "max": 128, "q": 16},
    "keep": {"distribution": "q_uniform", "min": 0.1, "max": 0.9, "q": 0.05},
    "noise": {"distribution": "normal", "mu": 0, "sigma": 1},
    "size": {"distribution": "q_log_uniform_values", "min": 8, "max": 512, "q": 8},
    "act": {"values": ["=relu", "tanh", None]},
    "mixed": {"values": [1, True, "1", 0.5]},
    "flag": {"values": [True, False]},
    "shape": {"values": [[1, 2], [3]]},
    "opt": {"parameters": {"name": {"value": "sgd"}, "momentum": {"values": [0.0, 0.9]}}},
}

ODD = ("", ".", "../up", "..x", "/root", "a//b", "a/./b/", "a,b", "l" * 300)  # names of metrics


def train() -> None:
    run = smsweep.init()
    for step in range(5):
        run.log(dict.fromkeys(ODD, step), step=step)
        run.log(
            {"loss": run.config.lr * (5 - step), "acc": step / 7, "note": "=cmd()|x", "broken": math.nan},
            step=step,
        )
    if run.config.layers == 3:
        raise ValueError("=three")


def main() -> None:
    goal = {"metric": {"name": "loss", "goal": "minimize"}}
    one = smsweep.sweep(
        {"method": "random", "name": "kinds", "run_cap": 12, **goal, "parameters": PARAMETERS}, seed=2
    )
    smsweep.agent(one, function=train)
    goals = {"metrics": [{"name": "loss", "goal": "minimize"}, {"name": "acc", "goal": "maximize"}]}
    several = {
        "method": "custom",
        "scheduler": {"engine": "optuna"},
        "run_cap": 3,
        **goals,
        "parameters": PARAMETERS,
    }
    two = smsweep.sweep(several, seed=2)
    smsweep.agent(two, function=train)
    for to in ("trials.csv", "trials.json", "trials.parquet"):
        export(one, to)
    for sweep_id in (one, two):
        export(sweep_id, "sqlite:///study.db", form="optuna")
    export(one, "mlflow.db", form="mlflow")
    export(one, "runs", form="tensorboard")
    print(json.dumps({"one": one, "two": two}))


if __name__ == "__main__":
    main()
