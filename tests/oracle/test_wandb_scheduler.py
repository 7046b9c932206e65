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
    sampler = samplers.NSGAIISampler(seed=1, population_size=4)
    return optuna.create_study(sampler=sampler, pruner=pruners.NopPruner())

def nsga_iii(sweep):
    sampler = samplers.NSGAIIISampler(seed=1, population_size=4)
    return optuna.create_study(sampler=sampler, pruner=pruners.NopPruner())

def grid(sweep):
    return optuna.create_study(sampler=samplers.GridSampler({"x": [0.1, 0.5], "n": [1, 2]}, seed=1))

def ends(sweep):
    return optuna.create_study(sampler=samplers.RandomSampler(seed=1)), lambda study: len(study.trials) >= 6

def halving(sweep):
    pruner = pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
    return optuna.create_study(sampler=samplers.RandomSampler(seed=1), pruner=pruner)

def cma(sweep):
    return optuna.create_study(sampler=samplers.CmaEsSampler(seed=1, n_startup_trials=2))

def qmc(sweep):
    return optuna.create_study(sampler=samplers.QMCSampler(seed=1, scramble=True))

def brackets(sweep):
    pruner = pruners.HyperbandPruner(min_resource=1, max_resource=5, reduction_factor=2)
    return optuna.create_study(sampler=samplers.RandomSampler(seed=1), pruner=pruner, study_name="named")

def unseeded(sweep):
    pruner = pruners.HyperbandPruner(min_resource=1, max_resource=5, reduction_factor=2)
    return optuna.create_study(sampler=samplers.TPESampler(n_startup_trials=4), pruner=pruner)

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
    "another sampler with a state": ({"optimizer": "nsga_iii"}, PARAMETERS),
    "a sampler that ends": ({"optimizer": "grid"}, NUMBERS),
    "a terminator": ({"optimizer": "ends"}, PARAMETERS),
    "a pruner with a state": ({"optimizer": "halving"}, PARAMETERS),
    "CMA-ES": ({"optimizer": "cma"}, NUMBERS),
    "quasi-random numbers": ({"optimizer": "qmc"}, PARAMETERS),
    "brackets": ({"optimizer": "brackets"}, PARAMETERS),
    "enqueued trials": ({"optimizer": "warm"}, NUMBERS),
}


OTHERS: dict[str, Any] = {
    "no seed and no name": ({"optimizer": "unseeded"}, PARAMETERS),
    "a space without a pruner": ({"optimizer": "nsga", "search_space": "space"}, None),
}


def case(name: str, workers: int, *, restarts: bool, repeats: int = 1) -> dict[str, Any]:
    scheduler, parameters = {**SWEEPS, **OTHERS}[name]
    config: dict[str, Any] = {
        "method": "custom",
        "program": "train.py",
        "metric": {"name": "loss", "goal": "minimize"},
        "scheduler": {"engine": "optuna", "source": "space.py", **scheduler},
    }
    if parameters is not None:
        config["parameters"] = parameters
    return {
        "config": config,
        "code": CODE,
        "n": 14 * repeats,
        "workers": workers,
        "restarts": restarts,
        "repeats": repeats,
    }


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


@pytest.mark.parametrize("workers", [1, 3])
def test_agents_agree_about_a_study_without_seed_and_name(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMSWEEP_ALLOW_CODE", "1")
    cases = [case("no seed and no name", workers, restarts=restarts) for restarts in (False, True)]
    one, many = oracle("optuna").ask(SCRIPT, {"cases": cases})
    assert one["smsweep"] == many["smsweep"]
    assert one["wandb"] != many["wandb"]  # W&B draws the seeds and the name
    assert len({run["pruned"] for run in one["smsweep"]}) > 1


def test_search_with_repeats_has_the_params_of_the_search_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMSWEEP_ALLOW_CODE", "1")
    name = "a space without a pruner"
    cases = [case(name, 1, restarts=restarts, repeats=2) for restarts in (False, True)]
    for answer in oracle("optuna").ask(SCRIPT, {"cases": cases}):
        assert answer["smsweep"][::2] == answer["smsweep"][1::2] == answer["wandb"][:14]


@pytest.mark.parametrize("workers", [1, 3])
def test_pruner_prunes_repeats_of_derived_params(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMSWEEP_ALLOW_CODE", "1")
    cases = [case("a space", workers, restarts=restarts, repeats=2) for restarts in (False, True)]
    one, many = (answer["smsweep"] for answer in oracle("optuna").ask(SCRIPT, {"cases": cases}))
    assert one == many
    assert [run["params"] for run in one[::2]] == [run["params"] for run in one[1::2]]
    pruned = [run["pruned"] for run in one]
    assert pruned[:3] == [None] * 3  # the pruner waits for three trials, not for three assignments
    assert len({step for step in pruned if step is not None}) >= 1
