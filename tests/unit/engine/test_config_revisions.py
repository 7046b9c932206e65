"""Running agents apply a changed config at their next tick."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from smsweep.config_files.config_change import change_config, parse_change
from smsweep.core.sweep import ConfigRevision, SweepState
from smsweep.errors import StoreDown
from smsweep.search.registry import make_strategy
from tests.support.agent_kit import Kit, logged
from tests.support.scripted_backend import Plot, ScriptedBackend

SWEEP = "abcd1234"
GRID: dict[str, Any] = {
    "program": "train.py",
    "method": "grid",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"a": {"values": [1, 2, 3]}, "b": {"values": [10, 20]}},
}
RANDOM: dict[str, Any] = {**GRID, "method": "random", "parameters": {"x": {"min": 0.0, "max": 1.0}}, "run_cap": 4}


def finishes(trial: Any) -> Plot:
    return Plot(pages=[[logged(0, loss=float(sum(trial.params.values())))]])


def waits(trial: Any) -> Plot:
    return Plot(pages=[[logged(0, loss=9.0)]], ends=False)


def change(kit: Kit, *texts: str) -> None:
    change_config(kit.store, SWEEP, map(parse_change, texts), "ann@host")


def on_first_sleep(kit: Kit, *texts: str) -> None:
    def act() -> None:
        kit.on_sleep = lambda: None
        change(kit, *texts)

    kit.on_sleep = act


def test_run_cap_is_raised_for_two_running_agents(tmp_path: Path) -> None:
    kit = Kit(tmp_path, RANDOM)
    agents = [kit.agent(ScriptedBackend(waits), agent_id=name, parallel=4) for name in "ab"]
    for agent in agents * 2:
        agent.tick()
    assert kit.states() == ["running"] * 4
    change(kit, "run_cap=6")
    agents[1].tick()
    assert kit.states() == ["running"] * 6
    agents[0].tick()
    assert kit.states() == ["running"] * 6


def test_change_is_applied_after_the_store_did_not_answer(tmp_path: Path) -> None:
    kit = Kit(tmp_path, RANDOM)
    agent = kit.agent(ScriptedBackend(waits), parallel=4)
    change(kit, "parameters.x={min: 5.0, max: 6.0}")
    list_revisions = kit.store.list_revisions

    def fail_once(sweep_id: str) -> list[ConfigRevision]:
        kit.store.list_revisions = list_revisions  # type: ignore[method-assign]
        raise StoreDown("no answer")

    kit.store.list_revisions = fail_once  # type: ignore[method-assign]
    with pytest.raises(StoreDown):
        agent.tick()
    agent.tick()
    assert kit.states() == ["running"] * 4
    assert all(trial.params["x"] >= 5.0 for trial in kit.trials())


def test_lower_run_cap_starts_no_trial_and_lets_running_trials_finish(tmp_path: Path) -> None:
    kit = Kit(tmp_path, RANDOM)
    on_first_sleep(kit, "run_cap=2")
    kit.agent(ScriptedBackend(finishes), parallel=3).run()
    assert kit.states() == ["finished"] * 3
    assert kit.store.get_sweep(SWEEP).state is SweepState.FINISHED


def test_budget_is_applied_to_the_trials_so_far(tmp_path: Path) -> None:
    kit = Kit(tmp_path, {**RANDOM, "run_cap": 50}, job={"max_run": 3600})
    agent = kit.agent(ScriptedBackend(waits), parallel=8)
    agent.tick()
    assert kit.states() == ["running"] * 8
    change(kit, "budget.hours=5")
    agent.tick()
    assert kit.states() == ["running"] * 8  # the worst cases of running trials exceed it already
    change(kit, "budget.hours=9")
    other = kit.agent(ScriptedBackend(waits), agent_id="b", parallel=8)
    agent.tick()
    other.tick()
    assert kit.states() == ["running"] * 9


def test_parallel_changes_the_slots_of_running_agents(tmp_path: Path) -> None:
    kit = Kit(tmp_path, {**RANDOM, "run_cap": 20})
    agent = kit.agent(ScriptedBackend(waits), parallel=2)
    agent.tick()
    change(kit, "parallel=5")
    agent.tick()
    assert kit.states() == ["running"] * 5
    change(kit, "parallel=1")
    agent.tick()
    assert kit.states() == ["running"] * 5
    change(kit, "parallel=6", "run_cap=21")
    agent.tick()
    assert kit.states() == ["running"] * 6
    later = kit.agent(ScriptedBackend(waits), agent_id="b", parallel=2)
    later.tick()
    assert kit.states() == ["running"] * 8


def test_the_last_number_of_slots_applies_whether_it_was_set_for_one_agent_or_for_all(tmp_path: Path) -> None:
    kit = Kit(tmp_path, {**RANDOM, "run_cap": 50})
    agent = kit.agent(ScriptedBackend(waits), parallel=1)
    agent.tick()

    def slots() -> int:
        agent.tick()
        agent.tick()
        return next(iter(kit.store.list_agents(SWEEP)[0].slots.values()))

    def order(n_slots: int) -> None:
        kit.store.order_agent(SWEEP, agent._agent_id, parallel=n_slots)

    order(3)
    assert slots() == 3
    change(kit, "parallel=5")
    assert slots() == 5
    order(3)
    assert slots() == 3
    change(kit, "parallel=5")
    assert slots() == 5
    order(2)
    change(kit, "parallel=4")
    assert slots() == 4
    change(kit, "parallel=5")
    order(2)
    assert slots() == 2


def test_stopped_agent_names_the_user_as_the_reason(tmp_path: Path) -> None:
    kit = Kit(tmp_path, RANDOM)
    agent = kit.agent(ScriptedBackend(waits))
    agent.tick()
    kit.store.order_agent(SWEEP, agent._agent_id, order="stop")
    agent.run()
    assert [(trial.state.value, trial.reason) for trial in kit.trials()] == [
        ("pending", "the user stopped its agent")
    ]


def test_stop_if_stops_running_trials(tmp_path: Path) -> None:
    kit = Kit(tmp_path, RANDOM)
    agent = kit.agent(ScriptedBackend(waits), parallel=4)
    agent.tick()
    agent.tick()
    change(kit, "stop_if=loss > 5")
    agent.tick()
    assert {trial.reason.partition(":")[0] for trial in kit.trials()} == {"stop_if"}


def test_early_terminate_judges_the_curves_of_running_trials(tmp_path: Path) -> None:
    kit = Kit(tmp_path, {**RANDOM, "run_cap": 6})

    def learns(trial: Any) -> Plot:
        return Plot(pages=[[logged(step, loss=float(trial.number)) for step in range(4)]], ends=trial.number < 4)

    agent = kit.agent(ScriptedBackend(learns), parallel=6)
    for _ in range(3):
        agent.tick()
    change(kit, "early_terminate={type: median, min_iter: 2}")
    agent.tick()
    assert [trial.asked_by for trial in kit.trials()][-1] == "rule"


def test_grid_continues_with_new_cells_only(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)
    on_first_sleep(kit, "parameters.a.values+=4", "parameters.a.values-=1", "parameters.b.values+=30")
    kit.agent(ScriptedBackend(finishes), parallel=2).run()
    cells = [(trial.params["a"], trial.params["b"]) for trial in kit.trials()]
    assert len(cells) == len(set(cells))
    before = cells[:2]
    assert before == [(1, 10), (1, 20)]
    assert sorted(cells[2:]) == [(a, b) for a in (2, 3, 4) for b in (10, 20, 30)]


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_trials_after_a_change_are_a_function_of_config_trials_and_seed(tmp_path: Path, method: str) -> None:
    kit = Kit(tmp_path, {**RANDOM, "method": method, "run_cap": 16}, seed=3)

    def act() -> None:
        if len(kit.trials()) == 12:
            change(kit, "parameters.x.max=0.2")

    kit.on_sleep = act
    kit.agent(ScriptedBackend(finishes)).run()
    revision = kit.store.list_revisions(SWEEP)[-1]
    later = [trial for trial in kit.trials() if trial.number >= revision.first_number]
    assert len(later) == 4
    assert all(trial.params["x"] <= 0.2 for trial in later)
    assert any(trial.params["x"] > 0.2 for trial in kit.trials()[: revision.first_number])
    stored = kit.store.get_sweep(SWEEP)
    known = kit.trials()[: later[0].number]
    history = type(kit.agent(ScriptedBackend(finishes))._controller.history)(known)
    assert make_strategy(stored.config, stored.seed).suggest(history, 1) == [later[0].params]


def test_agent_does_not_add_trials_of_the_old_config(tmp_path: Path) -> None:
    kit = Kit(tmp_path, RANDOM)
    add_trials = kit.store.add_trials

    def add_late(*args: Any, **options: Any) -> Any:
        kit.store.add_trials = add_trials  # type: ignore[method-assign]
        change(kit, "parameters.x={min: 5.0, max: 6.0}")
        return add_trials(*args, **options)

    kit.store.add_trials = add_late  # type: ignore[method-assign]
    kit.agent(ScriptedBackend(finishes)).run()
    assert len(kit.trials()) == 4
    assert all(trial.params["x"] >= 5.0 for trial in kit.trials())


def test_change_while_the_sweep_ends_is_applied(tmp_path: Path) -> None:
    kit = Kit(tmp_path, RANDOM)
    set_state = kit.store.set_sweep_state

    def set_state_late(*args: Any, **options: Any) -> Any:
        kit.store.set_sweep_state = set_state  # type: ignore[method-assign]
        change(kit, "run_cap=6")
        return set_state(*args, **options)

    kit.store.set_sweep_state = set_state_late  # type: ignore[method-assign]
    kit.agent(ScriptedBackend(finishes)).run()
    assert kit.states() == ["finished"] * 6
