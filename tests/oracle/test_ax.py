"""`scheduler: {engine: ax}`: Ax with smsweep's interface, and the params of the scheduler of wandb 0.31.

The environment has 6 GB, so tests do not create it: `python -m tools.environments ax python --version` does.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tools.environments import VENVS, Oracle, oracle

pytestmark = [pytest.mark.oracle, pytest.mark.slow, pytest.mark.timeout(900)]

SCRIPT = Path(__file__).with_name("ask_ax.py")
ALL_KINDS: dict[str, Any] = {
    "x": {"min": 0.0, "max": 1.0},
    "lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-1},
    "act": {"values": ["relu", "tanh", "gelu"]},
    "layers": {"min": 1, "max": 9},
    "dropout": {"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.1},
    "heads": {"distribution": "q_uniform", "min": 2, "max": 10, "q": 2},
    "width": {"distribution": "q_log_uniform_values", "min": 1, "max": 512},
    "flag": {"values": [True, False]},
    "factor": {"values": [1, 2.5]},
    "epochs": {"value": 3},
}
SMALL: dict[str, Any] = {"b": {"values": [1, 2]}, "a": {"min": 0.0, "max": 1.0}}
TWO: dict[str, Any] = {"metrics": [{"name": "val-loss"}, {"name": "acc", "goal": "maximize"}]}
N_INITIAL = 5  # trials that Ax proposes without a model


@pytest.fixture(scope="module")
def ax() -> Oracle:
    """The environment, if it exists."""
    if not (VENVS / "ax" / "ready").is_file():
        pytest.skip("the environment ax is made on request: python -m tools.environments ax python --version")
    return oracle("ax")


def case(
    parameters: dict[str, Any],
    n: int,
    metric: dict[str, Any] | None = None,
    *,
    workers: int = 1,
    failing: tuple[int, ...] = (),
) -> dict[str, Any]:
    config = {"method": "custom", "scheduler": {"engine": "ax"}, "parameters": parameters, "program": "train.py"}
    config |= metric or {"metric": {"name": "val-loss", "goal": "minimize"}}
    return {"config": config, "n": n, "workers": workers, "failing": failing, "seed": 7}


def test_params_are_those_of_wandbs_scheduler(ax: Oracle) -> None:
    """The initial trials are equal, and while no trial failed and no two run at once, those of the model."""
    maximize = {"metric": {"name": "acc", "goal": "maximize"}}
    cases = {
        "all kinds of parameters": (case(ALL_KINDS, 7), 7),
        "maximize": (case(SMALL, 7, maximize), 7),
        "failed trials": (case(SMALL, 5, failing=(0, 2)), N_INITIAL),
        "two metrics": (case(SMALL, 5, TWO), N_INITIAL),
        "three workers": (case(SMALL, 6, workers=3), N_INITIAL),
    }
    answers = ax.ask(SCRIPT, {"cases": [each for each, _ in cases.values()]}, timeout_s=800)
    for (name, (_, n)), answer in zip(cases.items(), answers, strict=True):
        assert len(answer["wandb"]) >= n, name
        pairs = list(zip(answer["smsweep"], answer["wandb"], strict=True))[:n]
        assert all(one == other for one, other in pairs[:N_INITIAL]), name
        assert all(is_close(one, other) for one, other in pairs), name


def is_close(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return True if the params are equal but for the rounding errors of an optimizer."""
    floats = {name for name, value in one.items() if isinstance(value, float)}
    return {**one, **dict.fromkeys(floats)} == {**other, **dict.fromkeys(floats)} and all(
        math.isclose(one[name], other[name], rel_tol=1e-3) for name in floats
    )


def test_finite_space_ends_without_repeats(ax: Oracle) -> None:
    (answer,) = ax.ask(SCRIPT, {"cases": [case({"a": {"values": [1, 2, 3]}, "b": {"values": ["x", "y"]}}, 9)]})
    asked = answer["smsweep"]
    assert len(asked) == len({json.dumps(params) for params in asked}) == 6


def test_complete_sweep_runs_with_ax(ax: Oracle, tmp_path: Path) -> None:
    sweep = case({"x": {"min": 0.0, "max": 1.0}}, 3)["config"] | {"run_cap": 3}
    (tmp_path / "sweep.yaml").write_text(json.dumps(sweep))
    (tmp_path / "train.py").write_text("import smsweep\nsmsweep.log({'val-loss': smsweep.init().config['x']})\n")
    others = {name: value for name, value in os.environ.items() if not name.startswith(("SMSWEEP_", "WANDB_"))}
    done = subprocess.run(
        [str(ax.python), "-m", "smsweep.cli.main", "run", "sweep.yaml"],
        cwd=tmp_path,
        env=others,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    assert "3 finished" in done.stderr
    assert "ax." not in done.stderr  # Ax's own log


GP = """
import optuna

def gp(sweep):
    return optuna.create_study(sampler=optuna.samplers.GPSampler(seed=1, n_startup_trials=3))
"""


def test_runs_of_optunas_gp_sampler_are_those_of_wandbs_scheduler(
    ax: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only this environment has PyTorch, which GPSampler needs. test_wandb_scheduler.py has the other samplers."""
    monkeypatch.setenv("SMSWEEP_ALLOW_CODE", "1")
    scheduler = {"engine": "optuna", "source": "space.py", "optimizer": "gp"}
    metric = {"name": "loss", "goal": "minimize"}
    config = {"method": "custom", "program": "train.py", "metric": metric, "scheduler": scheduler}
    sweep = {"config": config | {"parameters": SMALL}, "code": GP, "n": 7, "workers": 1, "repeats": 1}
    cases = [sweep | {"restarts": restarts} for restarts in (False, True)]
    for answer in ax.ask(SCRIPT.with_name("ask_scheduler.py"), {"cases": cases}):
        assert len(answer["wandb"]) == 7
        assert answer["smsweep"] == answer["wandb"]


CONTRACT = """
from smsweep.search.registry import METHODS
from smsweep.testing import SearchContract


class TestAx(SearchContract):
    spec = METHODS["ax"]
"""


def test_ax_passes_the_contract_of_search_methods(ax: Oracle, tmp_path: Path) -> None:
    (tmp_path / "test_contract.py").write_text(CONTRACT)
    done = subprocess.run(
        [str(ax.python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_contract.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout
