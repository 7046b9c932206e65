"""Agents repeat the best trials to confirm them, after the search or when the user asks."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from smsweep.core.confirm import is_repeat
from smsweep.core.job import Confirm, JobTemplate
from smsweep.core.repeats import find_best
from smsweep.core.sweep import SweepState
from smsweep.core.trial import Trial
from smsweep.engine.controller import Proposal
from smsweep.engine.job_request import training_job
from smsweep.runtime.job.trial_document import Assignment
from smsweep.store import notes
from tests.support.agent_kit import SITE, Kit, logged
from tests.support.scripted_backend import Plot, ScriptedBackend

CONFIG: dict[str, Any] = {
    "program": "train.py",
    "method": "random",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"x": {"min": 0.0, "max": 1.0}},
    "run_cap": 20,
}
GRID: dict[str, Any] = {**CONFIG, "method": "grid", "parameters": {"x": {"values": [1, 2, 3, 4, 5, 6]}}}
CONFIRM = Confirm(top=3, trials=9)


def noisy(trial: Assignment) -> Plot:
    """A script whose noise is larger than the differences between params."""
    noise = random.Random(trial.number).gauss(0.0, 0.5)
    return Plot(pages=[[logged(0, loss=trial.params["x"] + noise)]])


def exact(trial: Assignment) -> Plot:
    return Plot(pages=[[logged(0, loss=trial.params["x"])]])


def repeats(kit: Kit) -> list[Trial]:
    return list(filter(is_repeat, kit.trials()))


def ask(kit: Kit, top: int, trials: int) -> None:
    """Ask as `smsweep confirm` does."""
    notes.CONFIRM.put(kit.store, kit.sweep.id, {"top": top, "trials": trials})
    kit.store.set_sweep_state(kit.sweep.id, [SweepState.RUNNING, SweepState.FINISHED], SweepState.RUNNING)


def test_run_cap_includes_the_repeats_after_the_search(tmp_path: Path) -> None:
    kit = Kit(tmp_path, CONFIG)
    kit.agent(ScriptedBackend(noisy), confirm=CONFIRM).run()
    assert [is_repeat(trial) for trial in kit.trials()[:12]] == [False] * 11 + [True]
    assert 3 <= len(repeats(kit)) <= 9
    assert len(kit.trials()) == 11 + len(repeats(kit))
    assert kit.store.get_sweep(kit.sweep.id).state is SweepState.FINISHED


def test_repeats_have_the_params_of_their_trial_and_different_numbers(tmp_path: Path) -> None:
    kit = Kit(tmp_path, CONFIG)
    kit.agent(ScriptedBackend(noisy), parallel=4, confirm=CONFIRM).run()
    trials = kit.trials()
    assert all(trial.params == trials[trial.confirms or 0].params for trial in repeats(kit))
    seen = [(trial.confirms, trial.repeat) for trial in repeats(kit)]
    assert len(set(seen)) == len(seen)
    for number, n in Counter(trial.confirms for trial in repeats(kit)).items():
        assert {repeat for of, repeat in seen if of == number} == set(range(1, n + 1))


def test_several_agents_add_each_repeat_once(tmp_path: Path) -> None:
    kit = Kit(tmp_path, CONFIG)
    backend = ScriptedBackend(noisy)
    agents = [kit.agent(backend, agent_id=name, parallel=3, confirm=CONFIRM) for name in "xyz"]
    for _ in range(80):
        for agent in agents:
            agent.tick()
    assert 3 <= len(repeats(kit)) <= 9
    assert len({(trial.confirms, trial.repeat) for trial in repeats(kit)}) == len(repeats(kit))
    assert kit.store.get_sweep(kit.sweep.id).state is SweepState.FINISHED


def test_next_agent_after_a_crash_adds_the_same_repeats(tmp_path: Path) -> None:
    planned = []
    for n_before_crash in (0, 1, 4, 7):
        (folder := tmp_path / str(n_before_crash)).mkdir()
        kit = Kit(folder, CONFIG)
        backend = ScriptedBackend(noisy)
        killed = kit.agent(backend, agent_id="killed", confirm=CONFIRM)
        while len(repeats(kit)) < n_before_crash:
            killed.tick()
        kit.advance(3600)
        kit.agent(backend, agent_id="next", confirm=CONFIRM).run()
        assert set(kit.states()) == {"finished"}
        planned.append([(trial.number, trial.confirms, trial.repeat) for trial in repeats(kit)])
    assert planned == [planned[0]] * 4


def test_exact_script_gets_no_more_repeats_than_needed(tmp_path: Path) -> None:
    kit = Kit(tmp_path, CONFIG)
    kit.agent(ScriptedBackend(exact), confirm=CONFIRM).run()
    assert len(repeats(kit)) == 3
    assert kit.store.get_sweep(kit.sweep.id).state is SweepState.FINISHED


def test_grid_is_complete_before_the_repeats(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)
    kit.agent(ScriptedBackend(noisy), confirm=CONFIRM).run()
    assert [trial.params["x"] for trial in kit.trials()[:6]] == [1, 2, 3, 4, 5, 6]
    assert 3 <= len(repeats(kit)) <= 9


def test_requested_repeats_do_not_count_for_run_cap(tmp_path: Path) -> None:
    kit = Kit(tmp_path, CONFIG)
    backend = ScriptedBackend(noisy)
    kit.agent(backend).run()
    ask(kit, 4, 8)
    kit.agent(backend, agent_id="b").run()
    assert [is_repeat(trial) for trial in kit.trials()[:21]] == [False] * 20 + [True]
    assert 4 <= len(repeats(kit)) <= 8
    assert len(kit.trials()) == 20 + len(repeats(kit))
    assert kit.store.get_sweep(kit.sweep.id).state is SweepState.FINISHED


def test_running_agent_sees_the_request(tmp_path: Path) -> None:
    kit = Kit(tmp_path, CONFIG)
    agent = kit.agent(ScriptedBackend(noisy))
    while sum(state == "finished" for state in kit.states()) < 5:
        agent.tick()
    ask(kit, 3, 6)
    agent.run()
    first = next(trial.number for trial in repeats(kit))
    assert first < 10
    assert 3 <= len(repeats(kit)) <= 6
    assert len(kit.trials()) == 20 + len(repeats(kit))


def test_agent_without_search_adds_only_repeats(tmp_path: Path) -> None:
    kit = Kit(tmp_path, {**CONFIG, "run_cap": 100})
    backend = ScriptedBackend(noisy)
    kit.agent(backend, count=10).run()
    ask(kit, 3, 6)
    kit.agent(backend, agent_id="b", searches=False).run()
    assert 3 <= len(repeats(kit)) <= 6
    assert len(kit.trials()) == 10 + len(repeats(kit))
    assert kit.store.get_sweep(kit.sweep.id).state is SweepState.RUNNING


def test_agent_without_search_does_not_wait_for_the_search_of_others(tmp_path: Path) -> None:
    kit = Kit(tmp_path, {**CONFIG, "run_cap": 100})
    kit.agent(ScriptedBackend(exact), count=10).run()
    endless = kit.agent(ScriptedBackend(lambda trial: Plot(ends=False)), agent_id="endless")
    endless.tick()
    kit.on_sleep = endless.tick  # type: ignore[assignment]  # it runs, and renews its lease
    ask(kit, 3, 6)
    kit.agent(ScriptedBackend(exact), agent_id="b", searches=False).run()
    assert len(repeats(kit)) == 3
    assert sorted(kit.states()) == ["finished"] * 13 + ["running"]


def test_budget_limits_requested_repeats(tmp_path: Path) -> None:
    kit = Kit(tmp_path, CONFIG)
    backend = ScriptedBackend(noisy)
    kit.agent(backend, trial_cap=24).run()
    ask(kit, 4, 12)
    kit.agent(backend, agent_id="b", trial_cap=24).run()
    assert len(kit.trials()) == 24


def test_budget_keeps_a_part_for_the_repeats(tmp_path: Path) -> None:
    kit = Kit(tmp_path, {**CONFIG, "run_cap": 1000})
    kit.agent(ScriptedBackend(noisy), trial_cap=18, confirm=CONFIRM).run()
    assert [is_repeat(trial) for trial in kit.trials()] == [False] * 9 + [True] * 9


def test_early_stopping_does_not_end_repeats(tmp_path: Path) -> None:
    def curve(trial: Assignment) -> Plot:
        worse = 100.0 if trial.number >= 11 else 0.0
        return Plot(pages=[[logged(step, loss=worse + trial.params["x"])] for step in range(8)])

    kit = Kit(tmp_path, {**CONFIG, "early_terminate": {"type": "asha", "min_iter": 2}})
    kit.agent(ScriptedBackend(curve), parallel=2, confirm=CONFIRM).run()
    assert repeats(kit)
    assert {trial.state.value for trial in repeats(kit)} == {"finished"}


def test_agent_waits_for_values_before_it_decides_that_no_repeat_is_needed(tmp_path: Path) -> None:
    kit = Kit(tmp_path, {**CONFIG, "run_cap": 11})
    agent = kit.agent(ScriptedBackend(noisy), parallel=2, confirm=CONFIRM)
    agent.tick()
    agent._controller.refresh()
    assert agent._controller.propose(1) is Proposal.RESERVED


@pytest.mark.parametrize("confirm", [None, CONFIRM])
def test_script_reads_its_repeat_from_the_environment(tmp_path: Path, confirm: Confirm | None) -> None:
    kit = Kit(tmp_path, CONFIG)
    template = JobTemplate(confirm=confirm)
    plain, repeat = Trial(number=0, params={}), Trial(number=4, params={}, confirms=0, repeat=2)
    environments = [training_job(template, kit.sweep, trial, SITE).get("Environment") for trial in (plain, repeat)]
    repeated = {"SMSWEEP_REPEAT": "2", "SMSWEEP_CONFIRMS": "0"}
    assert environments == [{"SMSWEEP_REPEAT": "0"} if confirm else None, repeated]


def test_best_trial_is_compared_by_its_repeats(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)

    def lucky(trial: Assignment) -> Plot:
        luck = -5.0 if trial.number == 5 else 0.01 * (trial.number % 3)
        return Plot(pages=[[logged(0, loss=trial.params["x"] + luck)]])

    kit.agent(ScriptedBackend(lucky), confirm=CONFIRM).run()
    metric = kit.sweep.config.metric
    assert metric is not None
    best = find_best(kit.trials(), metric, 1)
    assert best is not None
    assert best.trial.params["x"] == 1
    assert best.interval is not None
