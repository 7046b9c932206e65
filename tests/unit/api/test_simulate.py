"""`suggest` and `judge`: search and early stopping as functions of plain data."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smsweep import ConfigError, judge, suggest
from smsweep.errors import UsageError

CONFIG: dict[str, Any] = {
    "method": "random",
    "metric": {"name": "val.loss"},
    "parameters": {"a": {"min": 0.0, "max": 1.0}},
    "early_terminate": {"type": "hyperband", "min_iter": 1},
}


def running(*rows: Any, **more: Any) -> dict[str, Any]:
    return {"state": "running", "history": list(rows), **more}


def stopped(*trials: dict[str, Any], **more: Any) -> list[int]:
    return [decision.number for decision in judge({**CONFIG, **more}, trials)]


def test_nested_and_flat_rows_are_equivalent() -> None:
    assert stopped(running({"val": {"loss": 1}}), running({"val.loss": 2})) == [1]


def test_numpy_scalars_are_numbers_and_arrays_are_ignored() -> None:
    good, bad = running({"val.loss": np.float32(1)}), running({"val.loss": np.int64(2), "image": np.ones(3)})
    assert stopped(good, bad, running({"val.loss": np.ones(2)})) == [1]


def test_numpy_scalar_is_the_same_grid_cell_as_a_number() -> None:
    grid = {"method": "grid", "parameters": {"a": {"values": [1, 2]}, "n": {"parameters": {"b": {"values": [1]}}}}}
    assert suggest(grid, [{"params": {"a": np.int64(1), "n": {"b": np.float64(1)}}}]) == [{"a": 2, "n": {"b": 1}}]


def test_decisions_have_the_numbers_of_the_trials() -> None:
    assert stopped(running({"val.loss": 1}, number=7), running({"val.loss": 2}, number=4)) == [4]


@pytest.mark.parametrize("method", ["grid", "random", "bayes"])
def test_suggest_accepts_a_trial_with_a_very_large_number(method: str) -> None:
    config = {"method": method, "metric": {"name": "loss"}, "parameters": {"a": {"values": [1, 2]}}}
    assert suggest(config, [{"number": 10**15, "params": {"a": 1}, "history": [{"loss": 1}]}]) == [
        {"a": 1 if method == "random" else 2}
    ]


def test_conditions_work_as_in_a_job_yaml() -> None:
    trials = [running({"val.loss": math.nan}), running({"gpu": 3}), running({"val.loss": 1})]
    decisions = judge(
        {**CONFIG, "early_terminate": CONFIG["early_terminate"]}, trials, stop_if=["val.loss is nan"]
    )
    assert [(decision.number, decision.evidence["rule"]) for decision in decisions] == [(0, "stop_if")]


def test_conditions_can_use_nested_metrics_and_metrics_outside_the_config() -> None:
    trials = [running({"gpu": {"mem": 3}}, {"gpu.mem": 9}), running({"gpu": {"mem": 9}, "val": {"loss": 1}})]
    assert [decision.number for decision in judge(CONFIG, trials, stop_if=["gpu.mem > 5 after 2"])] == [0]
    assert [decision.number for decision in judge(CONFIG, trials, stop_if=["gpu.mem > 5"])] == [0, 1]
    assert judge(CONFIG, trials, stop_if="gpu.mem > 5") == judge(CONFIG, trials, stop_if=["gpu.mem > 5"])


@pytest.mark.parametrize("state", ["preempting", "preempted"])
def test_preempted_run_is_not_stopped_but_counts_as_a_peer(state: str) -> None:
    good, bad = running({"val.loss": 1}, state=state), running({"val.loss": 2}, state=state)
    assert stopped(good, bad, running({"val.loss": 3})) == [2]
    cells = {"method": "grid", "parameters": {"a": {"values": [1, 2]}}}
    assert suggest(cells, [{"params": {"a": 1}, "state": state}]) == [{"a": 2}]


def test_no_trial_is_stopped_without_rules() -> None:
    config = {key: value for key, value in CONFIG.items() if key != "early_terminate"}
    assert judge(config, [running({"val.loss": 99})]) == []


def test_config_changed_in_place_is_parsed_again() -> None:
    leaf: dict[str, Any] = {"values": [1]}
    config = {"method": "grid", "parameters": {"a": leaf}}
    found = []
    for value in (1, 1.0, True, np.float64(1.5), "1"):
        leaf["values"] = [value]
        found += suggest(config, [])
    assert [(type(params["a"]), params["a"]) for params in found] == [
        (int, 1), (float, 1.0), (bool, True), (float, 1.5), (str, "1")
    ]  # fmt: skip


def test_suggest_does_not_depend_on_earlier_calls() -> None:
    config = {**CONFIG, "method": "bayes"}
    trials = [{"params": {"a": i / 20}, "history": [{"val.loss": abs(i - 7)}]} for i in range(20)]
    first = suggest(config, trials)
    suggest(config, trials[:9], 3)
    suggest(config, [*trials, running(params=first[0])])
    assert suggest(config, trials) == first


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_seed_must_be_a_whole_number_from_zero(method: str) -> None:
    config = {**CONFIG, "method": method}
    assert suggest(config, [], seed=np.int64(7)) == suggest(config, [], seed=7)
    seeds: tuple[Any, ...] = (-1, 1.5, "7", None, 2**63)
    for seed in seeds:
        with pytest.raises(UsageError, match="seed: expected a whole number from 0"):
            suggest(config, [], seed=seed)


@pytest.mark.parametrize(
    ("trials", "message"),
    [
        ([running([1])], r"trials\[0\].history: expected rows that are mappings of metrics"),
        ([running(history=5)], r"trials\[0\].history: expected a list of rows, got 5"),
        ([running(number=1), running(number=1)], "2 of them have number 1"),
        ([{"state": "lost"}], r"trials\[0\].state: 'lost' is not a trial state"),
        ([5], r"trials\[0\]: expected a mapping with number, .*, got 5"),
        ([running(number="1")], r"trials\[0\].number: expected a whole number from 0, got '1'"),
        ([running(params=7)], r"trials\[0\].params: expected a mapping, got 7"),
        (running(), "trials: expected a list of trials, got a mapping"),
    ],
)
def test_invalid_trial_raises_a_config_error(trials: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        judge(CONFIG, trials)


@pytest.mark.parametrize("value", [None, "", "0", "no", "true", f"sha256:{'0' * 64}"])
def test_search_program_needs_consent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str | None) -> None:
    monkeypatch.chdir(tmp_path)
    if value is None:
        monkeypatch.delenv("SMSWEEP_ALLOW_CODE", raising=False)
    else:
        monkeypatch.setenv("SMSWEEP_ALLOW_CODE", value)
    text = "raise SystemExit('it ran')\n"
    (tmp_path / "space.py").write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    scheduler = {"engine": "optuna", "source": "space.py", "search_space": "space"}
    with pytest.raises(
        ConfigError, match=rf"space.py: it runs inside .* set SMSWEEP_ALLOW_CODE=\S*sha256:{digest}"
    ):
        suggest({"method": "custom", "scheduler": scheduler, "metric": {"name": "loss"}}, [])


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_suggest_follows_the_rules_of_a_job(method: str) -> None:
    parameters = {"kind": {"values": ["x", "y"]}, "rate": {"min": 0.0, "max": 1.0}}
    config = {"method": method, "metric": {"name": "loss"}, "parameters": parameters}
    search = {"conditions": {"rate": {"when": {"kind": "y"}}}, "constraints": ["rate < 0.5"]}
    made = suggest(config, [], n=20, job={"search": search})
    assert {("rate" in params) == (params["kind"] == "y") for params in made} == {True}
    assert all(params.get("rate", 0.0) < 0.5 for params in made)
    assert len({params["kind"] for params in made}) == 2
    with pytest.raises(ConfigError, match=r"search\.conditions\.rate\.when\.sort: is not a parameter"):
        suggest(config, [], job={"search": {"conditions": {"rate": {"when": {"sort": "y"}}}}})
