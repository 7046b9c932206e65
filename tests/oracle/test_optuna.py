"""`scheduler: {engine: optuna}`: Optuna's samplers with smsweep's interface."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from smsweep.config_files.sweep_yaml import parse_sweep
from tools.environments import oracle

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
# Later questions depend on earlier answers.
PROGRAM = """
import optuna

def space(trial):
    params = {"lr": trial.suggest_float("lr", 1e-5, 0.1, log=True)}
    params["kind"] = trial.suggest_categorical("kind", ["adam", "sgd"])
    if params["kind"] == "sgd":
        params["momentum"] = trial.suggest_float("momentum", 0.0, 0.9)
    return params

def sampler(sweep):
    tpe = optuna.samplers.TPESampler(seed=1, multivariate=True, group=True, n_startup_trials=2)
    return optuna.create_study(sampler=tpe, direction=sweep.config["metric"]["goal"])

def tpe(sweep):
    return optuna.create_study(sampler=optuna.samplers.TPESampler(n_startup_trials=2))

def random(sweep):
    return optuna.create_study(sampler=optuna.samplers.RandomSampler())

def cma(sweep):
    return optuna.create_study(sampler=optuna.samplers.CmaEsSampler(n_startup_trials=1))

def nsga_ii(sweep):
    return optuna.create_study(sampler=optuna.samplers.NSGAIISampler(population_size=2))

def nsga_iii(sweep):
    return optuna.create_study(sampler=optuna.samplers.NSGAIIISampler(population_size=2))

def qmc(sweep):
    return optuna.create_study(sampler=optuna.samplers.QMCSampler(scramble=True))

def brute_force(sweep):
    return optuna.create_study(sampler=optuna.samplers.BruteForceSampler())

def fixed(sweep):
    free = optuna.samplers.RandomSampler()
    return optuna.create_study(sampler=optuna.samplers.PartialFixedSampler({"x": 0.5}, free))

def other_name(sweep):
    study = optuna.create_study()
    study.set_metric_names(["error"])
    return study

def same_name(sweep):
    study = optuna.create_study()
    study.set_metric_names(["loss"])
    return study

def stored(sweep):
    return optuna.create_study(storage="sqlite:///:memory:")

def wrong_way(sweep):
    return optuna.create_study(direction="maximize")

def nothing(sweep):
    return 5
"""
ONE: dict[str, Any] = {"metric": {"name": "loss", "goal": "minimize"}}
TWO: dict[str, Any] = {"metrics": [{"name": "loss"}, {"name": "acc", "goal": "maximize"}]}


def config(parameters: dict[str, Any] = SPACE, sampler: str | None = None, **more: Any) -> dict[str, Any]:
    scheduler = {"engine": "optuna", **({"optimizer": sampler} if sampler else {})}
    return {"method": "custom", "scheduler": scheduler, "parameters": parameters, **(more or ONE)}


def trial(number: int, params: dict[str, Any], state: str = "finished", **values: float) -> dict[str, Any]:
    return {"number": number, "params": params, "state": state, "history": [values]}


def history() -> list[dict[str, Any]]:
    """Return trials with all final states, in which a small lr is good."""
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


def test_proposals_are_in_space(answers: dict[str, dict[str, Any]]) -> None:
    space = parse_sweep(config()).config.space
    for name, answer in answers.items():
        for params in answer["at_once"] if name != "small" else ():
            for (path, leaf), value in zip(space.leaves, space.flatten(params), strict=True):
                assert 0 <= leaf.cdf(value) <= 1, (name, path, value)


def test_proposals_at_once_equal_proposals_one_by_one(answers: dict[str, dict[str, Any]]) -> None:
    assert all(answer["at_once"] == answer["one_by_one"] for answer in answers.values())


def test_proposals_depend_only_on_seed(answers: dict[str, dict[str, Any]]) -> None:
    assert answers["tpe"] == answers["again"]
    assert answers["tpe"] != answers["other seed"]
    assert answers["tpe"] != answers["random"]


def test_finite_space_is_searched_without_repeats(answers: dict[str, dict[str, Any]]) -> None:
    asked = answers["small"]["at_once"]
    assert len(asked) == len({json.dumps(params) for params in asked}) == 12


def test_tpe_proposes_more_params_in_good_region() -> None:
    parameters = {"x": {"min": 0.0, "max": 1.0}, "y": {"min": 0.0, "max": 1.0}}
    known = [
        trial(number, {"x": number / 40, "y": number * 7 % 40 / 40}, loss=abs(number / 40 - 0.8))
        for number in range(40)
    ]
    (answer,) = ask(case(config(parameters), known, n=6))
    assert sum(abs(params["x"] - 0.8) for params in answer["at_once"]) / 6 < 0.2


def run(folder: Path, sweep: dict[str, Any], param: str, **environ: str) -> subprocess.CompletedProcess[str]:
    (folder / "sweep.yaml").write_text(json.dumps(sweep | {"program": "train.py", "run_cap": 3}))
    script = f"import smsweep\nsmsweep.log({{'loss': smsweep.init().config['{param}']}})\n"
    (folder / "train.py").write_text(script)
    return smsweep(folder, "run", "sweep.yaml", **environ)


def smsweep(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    others = {name: value for name, value in os.environ.items() if not name.startswith(("SMSWEEP_", "WANDB_"))}
    return subprocess.run(
        [str(oracle("optuna").python), "-m", "smsweep.cli.main", *words],
        cwd=folder,
        env=others | environ,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_complete_sweep_runs_with_optuna(tmp_path: Path) -> None:
    done = run(tmp_path, config({"x": {"min": 0.0, "max": 1.0}}), "x")
    assert done.returncode == 0, done.stderr
    assert "3 finished" in done.stderr


def of_program(search_space: str = "space", **scheduler: str) -> dict[str, Any]:
    scheduler = {"engine": "optuna", "source": "space.py", "search_space": search_space, **scheduler}
    return {"method": "custom", "scheduler": scheduler, **ONE}


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "space.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SMSWEEP_ALLOW_CODE", "1")


@pytest.mark.usefixtures("program")
@pytest.mark.parametrize("sampler", [{}, {"optimizer": "sampler"}])
def test_search_program_defines_conditional_params(sampler: dict[str, str]) -> None:
    known = [
        trial(number, {"lr": 0.01, "kind": "sgd", "momentum": number / 20}, loss=abs(number - 15))
        for number in range(18)
    ]
    known += [trial(18, {"lr": 0.01, "kind": "sgd"}, loss=0.0), trial(19, {"lr": 7.0, "kind": "adam"}, loss=0.0)]
    fresh, taught, again = ask(
        case(of_program(**sampler), [], n=12),
        case(of_program(**sampler), known, n=8),
        case(of_program(**sampler), known, n=8),
    )
    assert fresh["at_once"] == fresh["one_by_one"]
    assert taught == again
    for params in (*fresh["at_once"], *taught["at_once"]):
        assert set(params) == {"lr", "kind", *(["momentum"] if params["kind"] == "sgd" else [])}
        assert 1e-5 <= params["lr"] <= 0.1
    assert {params["kind"] for params in fresh["at_once"]} == {"adam", "sgd"}


@pytest.mark.usefixtures("program")
def test_samplers_without_seed_depend_only_on_the_seed_of_the_sweep() -> None:
    samplers = ("tpe", "random", "cma", "nsga_ii", "nsga_iii", "qmc", "brute_force", "fixed")
    space = {"x": {"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.01}, "y": {"min": 0, "max": 99}}
    known = [trial(number, {"x": 0.5, "y": number}, loss=number) for number in range(3)]
    cases = []
    for name in samplers:
        sweep = config(space) | {"scheduler": {"engine": "optuna", "source": "space.py", "optimizer": name}}
        cases += [case(sweep, known, n=6), case(sweep, known, n=6), case(sweep, known, n=6, seed=2)]
    answers = iter(ask(*cases))
    for name, one, again, other in zip(samplers, answers, answers, answers, strict=True):
        assert one == again, name
        assert one["at_once"] == one["one_by_one"], name
        assert one != other, name


def test_sweep_stores_search_program_and_runs_where_allowed(tmp_path: Path) -> None:
    (tmp_path / "space.py").write_text(PROGRAM)
    refused = run(tmp_path, of_program(optimizer="sampler"), "lr")
    assert refused.returncode == 2
    assert "set SMSWEEP_ALLOW_CODE=sha256:" in refused.stderr
    done = run(tmp_path, of_program(optimizer="same_name"), "lr", SMSWEEP_ALLOW_CODE="1")
    assert done.returncode == 0, done.stderr
    assert "3 finished" in done.stderr


def test_program_trial_is_reproducible_and_sweep_is_recoverable(tmp_path: Path) -> None:
    (tmp_path / "space.py").write_text(PROGRAM)
    sweep_id = run(tmp_path, of_program(), "lr", SMSWEEP_ALLOW_CODE="1").stdout.split()[0]

    def params() -> list[dict[str, Any]]:
        return [trial["params"] for trial in json.loads(smsweep(tmp_path, "trials", sweep_id, "--json").stdout)]

    assert smsweep(tmp_path, "reproduce", f"{sweep_id}/0").returncode == 0
    known = params()
    for file in (tmp_path / ".smsweep").glob("*.db*"):
        file.unlink()
    recovered = smsweep(tmp_path, "recover", sweep_id, "sweep.yaml", "--seed", "1", SMSWEEP_ALLOW_CODE="1")
    assert recovered.returncode == 0, recovered.stderr
    assert params() == known
    assert smsweep(tmp_path, "agent", sweep_id, SMSWEEP_ALLOW_CODE="1").returncode == 0


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        (of_program(optimizer="nothing"), "scheduler.optimizer: space.py returned int; return a study"),
        (of_program(optimizer="stored"), "scheduler.optimizer: the study has a storage"),
        (of_program(optimizer="other_name"), "scheduler.optimizer: the study's metric names are error, and the"),
        (of_program(optimizer="wrong_way"), "scheduler.optimizer: the study's directions are maximize"),
        (of_program(source="none.py"), "scheduler.source: none.py was not found in"),
    ],
)
def test_invalid_search_program_creates_no_sweep(tmp_path: Path, sweep: dict[str, Any], message: str) -> None:
    (tmp_path / "space.py").write_text(PROGRAM)
    done = run(tmp_path, sweep, "lr", SMSWEEP_ALLOW_CODE="1")
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / ".smsweep").exists()


CONTRACT = """
from smsweep.search.registry import METHODS
from smsweep.testing import SearchContract


class TestOptuna(SearchContract):
    spec = METHODS["optuna"]
"""


def test_optuna_passes_the_contract_of_search_methods(tmp_path: Path) -> None:
    (tmp_path / "test_contract.py").write_text(CONTRACT)
    done = subprocess.run(
        [str(oracle("optuna").python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_contract.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout
