"""Agents resume the paused trials that the stopping rule promotes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from smsweep.core.sweep import SweepState
from smsweep.core.trial import Trial, TrialState
from smsweep.runtime.job.trial_document import Assignment
from smsweep.runtime.script.records import METRICS, records
from smsweep.store import notes
from tests.support.agent_kit import Kit
from tests.support.scripted_backend import Plot, ScriptedBackend

CONFIG: dict[str, Any] = {
    "program": "train.py",
    "method": "grid",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"x": {"values": [1, 2, 3, 4, 5, 6]}},
    "early_terminate": {"type": "asha", "min_iter": 2, "eta": 2, "promote": True},
    "run_cap": 6,
}
LENGTH = 8


class Trainings:
    """Scripts that train to LENGTH steps, one per poll, and resume after the steps that the store has.

    Args:
        saves: False for scripts that ignore their checkpoints.
        n_silent: Number of polls before a resumed script logs its next value.
    """

    def __init__(self, *, saves: bool = True, n_silent: int = 0) -> None:
        self.kit: Kit | None = None
        self._saves = saves
        self._n_silent = n_silent
        self._n_started = 0

    def __call__(self, assignment: Assignment) -> Plot:
        assert self.kit is not None
        n_saved = self.kit.trials()[assignment.number].n_points if self._saves else 0
        self._n_started += 1  # each job logs at other times
        values = {"loss": assignment.params["x"]}
        times = {step: 1_700_000_000.0 + 1000 * self._n_started + step for step in range(n_saved + 1, LENGTH + 1)}
        pages = [list(records(METRICS, values, time=time, step=step)) for step, time in times.items()]
        return Plot(pages=[[]] * (self._n_silent if n_saved else 0) + pages)


def prepared(folder: Path, *, saves: bool = True, n_silent: int = 0, **config: Any) -> tuple[Kit, ScriptedBackend]:
    script = Trainings(saves=saves, n_silent=n_silent)
    kit = script.kit = Kit(folder, {**CONFIG, **config})
    return kit, ScriptedBackend(script)


def n_points(kit: Kit) -> list[int]:
    return [trial.n_points for trial in kit.trials()]


def promotions(kit: Kit) -> list[int]:
    return [trial.attempt for trial in kit.trials()]


def test_promoted_trials_continue_and_count_neither_as_retry_nor_for_run_cap(tmp_path: Path) -> None:
    kit, backend = prepared(tmp_path)
    kit.agent(backend).run()
    trials = kit.trials()
    assert len(trials) == CONFIG["run_cap"]
    assert trials[0].state is TrialState.FINISHED
    assert n_points(kit)[0] == LENGTH
    assert promotions(kit) == [0, 1, 1, 0, 0, 0]
    assert all(trial.retries == {} for trial in trials)
    assert backend.submitted.count(trials[1].job_name) == 1
    assert kit.store.get_sweep(kit.sweep.id).state is SweepState.FINISHED


def test_two_agents_promote_each_trial_once(tmp_path: Path) -> None:
    kit, backend = prepared(tmp_path)
    agents = [kit.agent(backend, agent_id=name) for name in "xy"]
    for _ in range(80):
        for agent in agents:
            agent.tick()
    assert len(kit.trials()) == CONFIG["run_cap"]
    assert len(backend.submitted) == len(set(backend.submitted))
    assert sum(promotions(kit)) == len(backend.submitted) - CONFIG["run_cap"] > 0
    assert kit.store.get_sweep(kit.sweep.id).state is SweepState.FINISHED


@pytest.mark.parametrize("is_stored", [False, True])
def test_next_agent_completes_a_promotion_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_stored: bool
) -> None:
    kit, backend = prepared(tmp_path)
    move = kit.store.move

    class Killed(BaseException):
        pass

    def killing(sweep_id: str, number: int, *args: Any, **options: Any) -> Trial:
        if TrialState.PENDING not in args:
            return move(sweep_id, number, *args, **options)
        if is_stored:
            move(sweep_id, number, *args, **options)
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(kit.store, "move", killing)
        kit.agent(backend, agent_id="killed").run()
    assert sum(promotions(kit)) == is_stored
    kit.advance(3600)
    kit.agent(backend, agent_id="next").run()
    assert promotions(kit) == [0, 1, 1, 0, 0, 0]
    assert kit.store.get_sweep(kit.sweep.id).state is SweepState.FINISHED


def test_trials_that_a_condition_stopped_are_not_promoted(tmp_path: Path) -> None:
    kit, backend = prepared(tmp_path)
    kit.agent(backend, stop_if=["loss > 1.5"]).run()
    assert promotions(kit) == [0] * 6
    assert kit.states() == ["finished", *["stopped"] * 5]


def test_cancelled_sweep_promotes_no_trial(tmp_path: Path) -> None:
    kit, backend = prepared(tmp_path)
    agent = kit.agent(backend)
    while kit.states().count("stopped") < 2:
        agent.tick()
    kit.store.set_sweep_state(kit.sweep.id, [SweepState.RUNNING], SweepState.CANCELLED)
    agent.run()
    assert sum(promotions(kit)) == 0
    assert not {"pending", "running", "stopping"} & set(kit.states())


def test_script_that_starts_again_ends_the_promotions_of_all_agents(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kit, backend = prepared(tmp_path, saves=False, run_cap=4)
    kit.agent(backend).run()
    assert promotions(kit) == [0, 1, 0, 0]
    assert "/1: its script ignores its checkpoint" in caplog.text
    assert notes.IGNORES_CHECKPOINTS.get(kit.store, kit.sweep.id)
    assert kit.store.get_sweep(kit.sweep.id).state is SweepState.FINISHED


def test_new_agent_reads_that_a_script_ignores_its_checkpoints(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kit, backend = prepared(tmp_path, saves=False)
    first = kit.agent(backend, agent_id="first")
    while not (why := notes.IGNORES_CHECKPOINTS.get(kit.store, kit.sweep.id)):
        first.tick()
    caplog.clear()
    kit.advance(3600)
    kit.agent(backend, agent_id="next").run()
    assert why in caplog.text
    assert promotions(kit) == [0, 1, 0, 0, 0, 0]
    assert [trial.asked_by for trial in kit.trials()[4:]] == ["rule", "rule"]


def test_promoted_trial_runs_to_its_next_rung_when_better_trials_fill_its_last_rung(tmp_path: Path) -> None:
    # The second trial is promoted as the second of four. Before its next value, a better trial reaches its rung.
    kit, backend = prepared(tmp_path, n_silent=6, parameters={"x": {"values": [1, 3, 4, 5, 2, 6]}})
    kit.agent(backend, parallel=2).run()
    second, better = kit.trials()[1], kit.trials()[4]
    assert (second.attempt, better.attempt) == (1, 0)
    assert better.n_points > CONFIG["early_terminate"]["min_iter"]
    assert second.n_points == 4
    assert second.reason.startswith("asha: at band 4 its loss 3 is worse than")
