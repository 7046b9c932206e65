"""`scheduler: {engine: optuna}`: Optuna's samplers behind smsweep's own interface."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from smsweep.config.sweep_yaml import parse_sweep
from tests.oracles import oracle

pytestmark = pytest.mark.oracle

SCRIPT = Path(__file__).with_name("ask_optuna.py")
SPACE: dict[str, Any] = {
    "lr": {"distribution": "log_uniform_values", "min": 1e-5, "max": 0.1},
    "layers": {"min": 1, "max": 8},
    "act": {"values": ["relu", None, [1, 2], 3]},
    "opt": {"parameters": {"momentum": {"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.1}}},
    "width": {"distribution": "normal", "mu": 10, "sigma": 2},
    "epochs": {"value": 3},
}
SMALL: dict[str, Any] = {"a": {"values": [1, 2, 3]}, "b": {"values": [True, False]}, "c": {"min": 0, "max": 1}}
ONE: dict[str, Any] = {"metric": {"name": "loss", "goal": "minimize"}}
TWO: dict[str, Any] = {"metrics": [{"name": "loss"}, {"name": "acc", "goal": "maximize"}]}


def config(parameters: dict[str, Any] = SPACE, sampler: str | None = None, **more: Any) -> dict[str, Any]:
    scheduler = {"engine": "optuna", **({"optimizer": sampler} if sampler else {})}
    return {"method": "custom", "scheduler": scheduler, "parameters": parameters, **(more or ONE)}


def trial(number: int, params: dict[str, Any], state: str = "finished", **values: float) -> dict[str, Any]:
    return {"number": number, "params": params, "state": state, "history": [values]}


def history() -> list[dict[str, Any]]:
    """Trials of which the ones with a small lr are good, and all kinds of ends."""
    states = ["finished"] * 12 + ["failed", "crashed", "killed", "stopped", "running", "pending"]
    return [
        trial(
            number,
            {
                "lr": 10.0 ** -(1 + number % 5 * 0.99),
                "layers": 1 + number % 8,
                "act": ["relu", None, [1, 2], 3][number % 4],
                "opt": {"momentum": 0.5},
                "width": 9.0 + number % 3,
                "epochs": 3,
            },
            state,
            loss=5.0 - number % 5,
            acc=number % 7,
        )
        for number, state in enumerate(states)
    ]


def ask(*cases: dict[str, Any]) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = oracle("optuna").ask(SCRIPT, {"cases": list(cases)})
    return answers


def case(config: dict[str, Any], trials: list[dict[str, Any]], n: int = 3, seed: int = 1) -> dict[str, Any]:
    return {"config": config, "trials": trials, "n": n, "seed": seed}


@pytest.fixture(scope="module")
def answers() -> dict[str, dict[str, Any]]:
    strange = [trial(0, {"lr": "x", "layers": 99}, loss=1.0), trial(1, {"a": 7}, loss=1.0)]
    strange += [trial(2, history()[0]["params"] | {"layers": 10**400}, loss=1.0)]
    cases = {
        "tpe": case(config(), history()),
        "again": case(config(), history()),
        "other seed": case(config(), history(), seed=2),
        "random": case(config(sampler="RandomSampler"), history()),
        "several metrics": case(config(**TWO), history()),
        "nothing known": case(config(), []),
        "another space": case(config(), strange),
        "small": case(config(SMALL), [], n=14),
    }
    return dict(zip(cases, ask(*cases.values()), strict=True))


def test_what_is_asked_for_lies_in_the_space(answers: dict[str, dict[str, Any]]) -> None:
    space = parse_sweep(config()).config.space
    for name, answer in answers.items():
        for params in answer["at_once"] if name != "small" else ():
            for (path, leaf), value in zip(space.leaves, space.flatten(params), strict=True):
                assert 0 <= leaf.cdf(value) <= 1, (name, path, value)


def test_many_at_once_are_the_same_as_one_by_one(answers: dict[str, dict[str, Any]]) -> None:
    assert all(answer["at_once"] == answer["one_by_one"] for answer in answers.values())


def test_all_chance_follows_from_the_seed(answers: dict[str, dict[str, Any]]) -> None:
    assert answers["tpe"] == answers["again"]
    assert answers["tpe"] != answers["other seed"]
    assert answers["tpe"] != answers["random"]


def test_no_assignment_of_a_finite_space_comes_twice(answers: dict[str, dict[str, Any]]) -> None:
    asked = answers["small"]["at_once"]
    assert len(asked) == len({json.dumps(params) for params in asked}) == 12


def test_tpe_learns_where_it_is_good() -> None:
    parameters = {"x": {"min": 0.0, "max": 1.0}, "y": {"min": 0.0, "max": 1.0}}
    known = [
        trial(number, {"x": number / 40, "y": number * 7 % 40 / 40}, loss=abs(number / 40 - 0.8))
        for number in range(40)
    ]
    (answer,) = ask(case(config(parameters), known, n=6))
    assert sum(abs(params["x"] - 0.8) for params in answer["at_once"]) / 6 < 0.2


def test_a_whole_sweep_runs_through_optuna(tmp_path: Path) -> None:
    sweep = config({"x": {"min": 0.0, "max": 1.0}}) | {"program": "train.py", "run_cap": 3}
    (tmp_path / "sweep.yaml").write_text(json.dumps(sweep))
    (tmp_path / "train.py").write_text("import smsweep\nsmsweep.log({'loss': smsweep.init().config['x']})\n")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("SMSWEEP_", "WANDB_"))}
    done = subprocess.run(
        [str(oracle("optuna").python), "-m", "smsweep.cli.main", "run", "sweep.yaml"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "3 finished" in done.stderr
