"""An assignment is tried once, with any number of agents, unless the job sets `repeats`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from smsweep import suggest
from smsweep.runtime.job.trial_document import Assignment
from tests.support.agent_kit import Kit, logged
from tests.support.scripted_backend import Plot, ScriptedBackend

TWELVE: dict[str, Any] = {
    "program": "train.py",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {
        "a": {"values": [1, 2, 3]},
        "b": {"values": [True, False]},
        "c": {"distribution": "q_uniform", "min": 0, "max": 1, "q": 1},
    },
}
METHODS = ["random", "bayes", "grid"]


def sweep(method: str, **more: Any) -> dict[str, Any]:
    grid = {"c": {"values": [0, 1]}} if method == "grid" else {}
    return {**TWELVE, **more, "method": method, "parameters": {**TWELVE["parameters"], **grid}}


def train(trial: Assignment) -> Plot:
    return Plot(pages=[[logged(0, loss=trial.params["a"] + trial.params["c"])]])


def tried(kit: Kit) -> list[tuple[Any, ...]]:
    return [tuple(trial.params[name] for name in "abc") for trial in kit.trials()]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(3))
def test_twelve_points_asked_for_by_three_agents_are_twelve(tmp_path: Path, method: str, seed: int) -> None:
    kit = Kit(tmp_path, sweep(method, run_cap=12), seed=seed)
    backend = ScriptedBackend(train)
    agents = [kit.agent(backend, agent_id=name, parallel=2) for name in "xyz"]
    for _ in range(40):
        for agent in agents:
            agent.tick()
    assert len(set(tried(kit))) == len(tried(kit)) == 12


def test_claiming_a_trial_that_was_never_read_hides_none_before_it(tmp_path: Path) -> None:
    kit = Kit(tmp_path, sweep("grid"))
    slow, quick = (kit.agent(ScriptedBackend(train), agent_id=name, parallel=3) for name in ("slow", "quick"))
    controller = slow._controller
    controller.refresh()
    for _ in range(2):
        quick._controller.propose(1)
    kit.store.claim(kit.sweep.id, "quick", "here", 60)
    claimed = kit.store.claim(kit.sweep.id, "slow", "here", 60)
    assert claimed is not None
    controller.note([claimed])
    controller.propose(3)
    assert len(set(tried(kit))) == len(tried(kit)) == 5


@pytest.mark.parametrize("method", ["bayes", "grid"])
def test_twelve_points_asked_for_at_once_are_twelve(method: str) -> None:
    assert len({str(params) for params in suggest(sweep(method), [], n=12)}) == 12


@pytest.mark.parametrize("method", ["bayes", "grid"])
def test_exhausted_space_ends_sweep(tmp_path: Path, method: str) -> None:
    kit = Kit(tmp_path, sweep(method))
    kit.agent(ScriptedBackend(train), parallel=5).run()
    assert kit.states() == ["finished"] * 12


@pytest.mark.parametrize("method", METHODS)
def test_repeats_try_each_assignment_so_often_and_tell_the_script_which_it_is(tmp_path: Path, method: str) -> None:
    kit = Kit(tmp_path, sweep(method, run_cap=36))
    backend = ScriptedBackend(train)
    agents = [kit.agent(backend, agent_id=name, parallel=2, repeats=3) for name in "xy"]
    for _ in range(80):
        for agent in agents:
            agent.tick()
    assert set(Counter(tried(kit)).values()) == {3}
    assert len(tried(kit)) == 36


def test_single_repeat_does_not_reach_target(tmp_path: Path) -> None:
    config = sweep("grid", metric={"name": "loss", "target": 1.5})
    kit = Kit(tmp_path, config)

    def train_by_chance(trial: Assignment) -> Plot:
        return Plot(pages=[[logged(0, loss=[1.0, 4.0][trial.number % 2] if trial.number < 4 else 1.0)]])

    kit.agent(ScriptedBackend(train_by_chance), repeats=2).run()
    assert len(kit.trials()) == 6
