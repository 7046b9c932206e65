"""Search programs run as in the scheduler of wandb 0.31: the same params, pruned at the same steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tools.environments import oracle

pytestmark = pytest.mark.oracle

SCRIPT = Path(__file__).with_name("ask_scheduler.py")
CODE = """
import optuna
from optuna import pruners, samplers

def space(trial):
    kind = trial.suggest_categorical("kind", ["a", "b"])
    params = {"kind": kind, "lr": 10 ** -trial.suggest_float("exponent", 0, 1)}
    return {**params, "m": trial.suggest_float("m", 0, 1)} if kind == "a" else params

def tpe(sweep):
    pruner = pruners.MedianPruner(n_startup_trials=3)
    direction = sweep.config["metric"]["goal"]
    return optuna.create_study(sampler=samplers.TPESampler(seed=1), pruner=pruner, direction=direction)

def nsga(sweep):
    return optuna.create_study(sampler=samplers.NSGAIISampler(seed=1, population_size=4))

def grid(sweep):
    return optuna.create_study(sampler=samplers.GridSampler({"x": [0.1, 0.5], "n": [1, 2]}, seed=1))

def ends(sweep):
    return optuna.create_study(sampler=samplers.RandomSampler(seed=1)), lambda study: len(study.trials) >= 6

def halving(sweep):
    pruner = pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
    return optuna.create_study(sampler=samplers.RandomSampler(seed=1), pruner=pruner)

def warm(sweep):
    study = optuna.create_study(sampler=samplers.TPESampler(seed=2))
    study.enqueue_trial({"x": 0.25, "n": 3})
    return study
"""
NUMBERS: dict[str, Any] = {"x": {"min": 0.0, "max": 1.0}, "n": {"min": 1, "max": 4}}
PARAMETERS: dict[str, Any] = {
    **NUMBERS,
    "kind": {"values": ["u", "v"]},
    "lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-1},
    "q": {"distribution": "q_uniform", "min": 0, "max": 10, "q": 5},
    "constant": {"value": 3},
}
SWEEPS = {  # name -> (keys of scheduler, parameters)
    "a sampler and a pruner": ({"optimizer": "tpe"}, PARAMETERS),
    "a space": ({"optimizer": "tpe", "search_space": "space"}, None),
    "a space beside parameters": ({"optimizer": "tpe", "search_space": "space"}, PARAMETERS),
    "a sampler with a state": ({"optimizer": "nsga"}, PARAMETERS),
    "a sampler that ends": ({"optimizer": "grid"}, NUMBERS),
    "a terminator": ({"optimizer": "ends"}, PARAMETERS),
    "a pruner with a state": ({"optimizer": "halving"}, PARAMETERS),
    "enqueued trials": ({"optimizer": "warm"}, NUMBERS),
}


def case(name: str, workers: int, *, restarts: bool) -> dict[str, Any]:
    scheduler, parameters = SWEEPS[name]
    config: dict[str, Any] = {
        "method": "custom",
        "program": "train.py",
        "metric": {"name": "loss", "goal": "minimize"},
        "scheduler": {"engine": "optuna", "source": "space.py", **scheduler},
    }
    if parameters is not None:
        config["parameters"] = parameters
    return {"config": config, "code": CODE, "n": 14, "workers": workers, "restarts": restarts}


@pytest.mark.parametrize("restarts", [False, True], ids=["one agent", "a new agent for each trial"])
@pytest.mark.parametrize("workers", [1, 3])
def test_runs_are_those_of_wandbs_scheduler(workers: int, restarts: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMSWEEP_ALLOW_CODE", "1")
    cases = [case(name, workers, restarts=restarts) for name in SWEEPS]
    answers = oracle("optuna").ask(SCRIPT, {"cases": cases})
    for name, answer in zip(SWEEPS, answers, strict=True):
        assert len(answer["wandb"]) >= 4, name
        assert answer["smsweep"] == answer["wandb"], name
    pruned = {run["pruned"] for run in answers[0]["wandb"]}
    assert len(pruned) > 1  # the pruner pruned some runs, and not all
