"""Agents whose store does not answer, and agents that start while the leases of a lost agent still hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from smsweep.core.agent_record import AgentRecord
from smsweep.core.sweep import SweepState
from smsweep.core.trial import Trial
from smsweep.engine.agent import LEASE_S
from smsweep.errors import StoreDown
from smsweep.runtime.job.trial_document import Assignment
from tests.support.agent_kit import Kit, logged
from tests.support.scripted_backend import Plot, ScriptedBackend

TWO: dict[str, Any] = {
    "program": "train.py",
    "method": "grid",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"x": {"values": [1, 2]}},
}


def train(trial: Assignment) -> Plot:
    return Plot(pages=[[logged(0, loss=trial.params["x"])]])


def run_forever(trial: Assignment) -> Plot:
    return Plot(pages=[[logged(0, loss=trial.params["x"])]], ends=False)


def test_claim_without_an_answer_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kit, backend = Kit(tmp_path, TWO), ScriptedBackend(train)
    claim = kit.store.claim
    n_lost = 0

    def lose_the_first_two(*args: Any, **kwargs: Any) -> Trial | None:
        nonlocal n_lost
        trial = claim(*args, **kwargs)
        if n_lost < 2:
            n_lost += 1
            raise StoreDown("the answer was lost")
        return trial

    monkeypatch.setattr(kit.store, "claim", lose_the_first_two)
    result = kit.agent(backend, parallel=2).run()
    assert kit.states() == ["finished", "finished"]
    assert sum(result.ended.values()) == 2
    assert len(backend.submitted) == 2


def test_claim_without_an_answer_keeps_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kit, backend = Kit(tmp_path, TWO), ScriptedBackend(run_forever)
    kit.store.add_trials(kit.sweep.id, 0, [{"x": 1}, {"x": 2}])
    agent = kit.agent(backend, hours=1)
    claim = kit.store.claim

    def claim_late(*args: Any, **kwargs: Any) -> Trial | None:
        monkeypatch.setattr(kit.store, "claim", claim)
        assert claim(kit.sweep.id, "b", "elsewhere", LEASE_S) is not None
        claim(*args, **kwargs)
        raise StoreDown("the answer was lost")

    monkeypatch.setattr(kit.store, "claim", claim_late)
    with pytest.raises(StoreDown):
        agent.tick()
    agent.tick()
    assert kit.states() == ["running", "pending"]
    assert not backend.submitted


def test_order_to_an_agent_whose_record_had_no_answer_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit, backend = Kit(tmp_path, TWO), ScriptedBackend(run_forever)
    agent = kit.agent(backend)
    put_agent = kit.store.put_agent

    def order_early(record: AgentRecord) -> None:
        monkeypatch.setattr(kit.store, "put_agent", put_agent)
        put_agent(record)
        kit.store.order_agent(kit.sweep.id, record.id, order="drain")
        raise StoreDown("the answer was lost")

    monkeypatch.setattr(kit.store, "put_agent", order_early)
    with pytest.raises(StoreDown):
        agent.tick()
    agent.run()
    assert not backend.submitted
    assert not kit.store.list_agents()


def test_failed_tick_does_not_end_the_agent_of_a_cancelled_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit, backend = Kit(tmp_path, TWO), ScriptedBackend(run_forever)
    lost = kit.agent(backend, agent_id="lost")
    lost.tick()
    kit.store.set_sweep_state(kit.sweep.id, [SweepState.RUNNING], SweepState.CANCELLED)
    kit.advance(LEASE_S + 1)
    list_trials = kit.store.list_trials
    answers = iter([StoreDown("no answer")])

    def fail_once(*args: Any, **kwargs: Any) -> list[Trial]:
        for error in answers:
            raise error
        return list_trials(*args, **kwargs)

    kit.sweep = kit.store.get_sweep(kit.sweep.id)
    agent = kit.agent(backend, agent_id="next")
    monkeypatch.setattr(kit.store, "list_trials", fail_once)
    agent.run()
    assert kit.states() == ["killed"]


@pytest.mark.parametrize("state", [SweepState.RUNNING, SweepState.STOPPED, SweepState.CANCELLED])
def test_agent_adopts_the_trial_of_an_agent_that_was_just_lost(tmp_path: Path, state: SweepState) -> None:
    kit, backend = Kit(tmp_path, {**TWO, "parameters": {"x": {"values": [1]}}}), ScriptedBackend(train)
    kit.agent(backend, agent_id="lost").tick()
    if state is not SweepState.RUNNING:
        kit.store.set_sweep_state(kit.sweep.id, [SweepState.RUNNING], state)
    kit.advance(1)
    kit.agent(backend, agent_id="next").run()
    assert kit.states() in (["finished"], ["killed"])
    assert len(backend.submitted) == 1


def test_agent_leaves_a_trial_to_an_agent_that_renews_its_lease(tmp_path: Path) -> None:
    kit, backend = Kit(tmp_path, {**TWO, "parameters": {"x": {"values": [1]}}}), ScriptedBackend(run_forever)
    busy = kit.agent(backend, agent_id="busy")
    busy.tick()
    kit.on_sleep = busy.tick  # type: ignore[assignment]
    began = kit.clock_now
    result = kit.agent(backend, agent_id="idle").run()
    assert result.ended == {}
    assert (kit.clock_now - began).total_seconds() <= LEASE_S / 3 + 1
    assert kit.states() == ["running"]


def test_agent_does_not_wait_for_an_agent_that_is_known_to_run(tmp_path: Path) -> None:
    kit, backend = Kit(tmp_path, {**TWO, "parameters": {"x": {"values": [1]}}}), ScriptedBackend(run_forever)
    kit.agent(backend, agent_id="busy").tick()
    idle = kit.agent(backend, agent_id="idle")
    idle._is_alive = lambda agent_id: agent_id == "busy"  # as smsweep.services.agent_ids.is_alive
    began = kit.clock_now
    idle.run()
    assert kit.clock_now == began
