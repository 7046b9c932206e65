"""End of a sweep: only an exhausted search, a cap, a target or a budget ends it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from smsweep.core.sweep import SweepState
from smsweep.core.trial import Params, Trial, TrialState
from smsweep.engine.controller import Controller, Proposal, Rules
from smsweep.search.registry import make_strategy
from smsweep.store.base import Store
from smsweep.wandb_compat.hosted_sweep import POLL_S, HostedController, HostedSweep
from tests.support.agent_kit import Kit, logged
from tests.support.scripted_backend import Plot, ScriptedBackend

GRID = {
    "program": "train.py",
    "method": "grid",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"a": {"values": list(range(12))}},
}
SWEEP = "abcd1234"


def finishes(trial: Any) -> Plot:
    return Plot(pages=[[logged(0, loss=trial.params["a"])]])


def never_ends(trial: Any) -> Plot:
    return Plot(ends=False)


def before_each_insert(kit: Kit, act: Callable[[], object]) -> None:
    """Run `act` between the strategy's suggestion and the insert of the kit's own agents."""
    add_trials = kit.store.add_trials

    def add_late(sweep_id: str, first_number: int, params: Sequence[Params], **options: Any) -> list[Trial]:
        kit.store.add_trials = add_trials  # type: ignore[method-assign]
        act()
        kit.store.add_trials = add_late  # type: ignore[method-assign]
        return add_trials(sweep_id, first_number, params, **options)

    kit.store.add_trials = add_late  # type: ignore[method-assign]


def rival(kit: Kit, store: Store | None = None) -> Controller:
    controller = Controller(store or kit.store, kit.sweep, Rules(strategy=make_strategy(kit.sweep.config, 0)))
    controller.refresh()
    return controller


def test_conflicting_inserts_are_contention(tmp_path: Path) -> None:
    kit = Kit(tmp_path, {**GRID, "parameters": {"a": {"values": list(range(100))}}})
    controller, other = rival(kit), rival(kit)
    before_each_insert(kit, lambda: other.propose(1))
    assert controller.propose(1) is Proposal.CONTENDED
    assert not controller.is_exhausted()
    assert not controller.conclude()
    assert kit.store.get_sweep(SWEEP).state is SweepState.RUNNING


def test_agent_that_loses_every_insert_stays_until_the_grid_is_used_up(tmp_path: Path) -> None:
    kit = Kit(tmp_path, {**GRID, "parameters": {"a": {"values": list(range(60))}}})
    other = rival(kit)
    before_each_insert(kit, lambda: other.propose(1))
    kit.agent(ScriptedBackend(finishes), parallel=2).run()
    assert kit.states() == ["finished"] * 60
    assert kit.store.get_sweep(SWEEP).state is SweepState.FINISHED


def test_agent_whose_added_trials_are_all_claimed_by_another_agent_stays(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)
    claim = kit.store.claim
    n_stolen = 0

    def claim_late(sweep_id: str, agent_id: str, *args: Any, **options: Any) -> Trial | None:
        nonlocal n_stolen
        if n_stolen < 4 and (stolen := claim(sweep_id, "thief", "elsewhere", 9_999.0)) is not None:
            n_stolen += 1
            kit.store.move(sweep_id, stolen.number, [TrialState.RUNNING], TrialState.FINISHED)
        return claim(sweep_id, agent_id, *args, **options)

    kit.store.claim = claim_late  # type: ignore[method-assign]
    kit.agent(ScriptedBackend(finishes)).run()
    assert n_stolen == 4
    assert kit.states() == ["finished"] * 12


def test_agent_waits_while_running_trials_of_others_reserve_the_budget(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)
    other_backend = ScriptedBackend(never_ends)
    other = kit.agent(other_backend, agent_id="b", hours=1.5, count=1)
    other.tick()

    def end_the_other_trial() -> None:
        if kit.slept == 20:
            other_backend.stop("smsweep-abcd1234-0-0")
        other.tick()

    kit.on_sleep = end_the_other_trial
    kit.agent(ScriptedBackend(finishes), hours=1.5).run()
    assert kit.slept > 20
    assert kit.states() == ["killed"] + ["finished"] * 11


def test_spent_budget_ends_the_sweep(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)
    kit.store.add_trials(SWEEP, 0, [{"a": 0}])
    kit.store.claim(SWEEP, "b", "elsewhere", 60)
    kit.store.move(SWEEP, 0, [TrialState.RUNNING], TrialState.FINISHED, usage={"instance_s": 3600.0})
    kit.agent(ScriptedBackend(finishes), hours=1.5).run()
    assert kit.states() == ["finished"]
    assert kit.store.get_sweep(SWEEP).state is SweepState.FINISHED


def test_agents_that_claim_the_last_of_the_budget_at_once_lose_no_trial(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)
    kit.store.add_trials(SWEEP, 0, [{"a": 0}, {"a": 1}])
    backends = {name: ScriptedBackend(finishes) for name in "ab"}
    agents = {name: kit.agent(backends[name], agent_id=name, hours=1) for name in "ab"}
    claim, claimed = kit.store.claim, set[str]()

    def claim_together(sweep_id: str, agent_id: str, *args: Any, **options: Any) -> Trial | None:
        trial = claim(sweep_id, agent_id, *args, **options)
        claimed.add(agent_id)
        if agent_id == "a" and "b" not in claimed:
            agents["b"].tick()
        return trial

    kit.store.claim = claim_together  # type: ignore[method-assign]

    def tick_b() -> None:
        agents["b"].tick()

    kit.on_sleep = tick_b
    agents["a"].run()
    assert kit.states() == ["finished"] * 12


def test_cell_that_is_freed_at_the_last_moment_is_tried(tmp_path: Path) -> None:
    """Between "the grid is exhausted" and the end of the sweep, another process removes a trial."""
    kit = Kit(tmp_path, GRID)
    set_state = kit.store.set_sweep_state

    def set_state_late(*args: Any, **options: Any) -> Any:
        kit.store.set_sweep_state = set_state  # type: ignore[method-assign]
        kit.store.remove_trial(SWEEP, 3)
        return set_state(*args, **options)

    kit.store.set_sweep_state = set_state_late  # type: ignore[method-assign]
    kit.agent(ScriptedBackend(finishes), parallel=3).run()
    assert sorted(trial.params["a"] for trial in kit.trials()) == list(range(12))
    assert kit.store.get_sweep(SWEEP).state is SweepState.FINISHED


def test_pending_trial_of_a_used_up_grid_is_run_before_the_sweep_is_finished(tmp_path: Path) -> None:
    """A trial becomes pending while another agent finds the grid exhausted. The sweep must not end without it."""
    kit = Kit(tmp_path, {**GRID, "parameters": {"a": {"values": [0]}}})
    kit.store.add_trials(SWEEP, 0, [{"a": 0}])
    kit.store.claim(SWEEP, "b", "elsewhere", 9_999.0)
    agent = kit.agent(ScriptedBackend(finishes))
    propose = agent._controller.propose

    def requeue_meanwhile(n: int) -> Proposal:
        proposal = propose(n)
        if kit.states() == ["running"]:
            kit.store.move(SWEEP, 0, [TrialState.RUNNING], TrialState.PENDING)
        return proposal

    agent._controller.propose = requeue_meanwhile  # type: ignore[method-assign]
    agent.run()
    assert kit.states() == ["finished"]


def test_paused_sweep_is_neither_exhausted_nor_left(tmp_path: Path) -> None:
    kit = Kit(tmp_path, {**GRID, "parameters": {"a": {"values": [0]}}})
    kit.store.set_sweep_state(SWEEP, [SweepState.RUNNING], SweepState.PAUSED)
    assert rival(kit).propose(1) is Proposal.CLOSED

    def resume() -> None:
        if kit.slept == 10:
            kit.store.set_sweep_state(SWEEP, [SweepState.PAUSED], SweepState.RUNNING)

    kit.on_sleep = resume
    kit.agent(ScriptedBackend(finishes)).run()
    assert kit.states() == ["finished"]


class Server:
    """The part of W&B's server that the controller uses, on a clock that advances with each read."""

    def __init__(self) -> None:
        self.hosted = HostedSweep(name="", state="RUNNING", config="", n_runs=0, n_expected=4)
        self.now = datetime(2026, 1, 2, tzinfo=timezone.utc)

    def look(self) -> HostedSweep:
        return self.hosted

    def clock(self) -> datetime:
        self.now += timedelta(seconds=POLL_S)
        return self.now

    def change(self, **fields: Any) -> None:
        fields = {name: getattr(self.hosted, name) for name in HostedSweep.__slots__} | fields
        self.hosted = HostedSweep(**fields)


def hosted_controller(kit: Kit, server: Server) -> HostedController:
    strategy = make_strategy(kit.sweep.config, 0)
    controller = HostedController(
        kit.store, kit.sweep, Rules(strategy=strategy), poll=server.look, clock=server.clock
    )
    controller.refresh()
    return controller


def test_hosted_sweep_distinguishes_paused_reserved_and_exhausted(tmp_path: Path) -> None:
    kit, server = Kit(tmp_path, GRID), Server()
    controller = hosted_controller(kit, server)
    server.change(state="PAUSED")
    assert controller.propose(1) is Proposal.CLOSED
    server.change(state="RUNNING")
    assert controller.propose(9) is Proposal.ADDED
    assert len(kit.trials()) == 4
    assert controller.propose(1) is Proposal.RESERVED  # the four claimed trials can still fail to get a run
    assert not controller.conclude()
    server.change(n_runs=4)
    assert controller.propose(1) is Proposal.EXHAUSTED
    server.change(n_runs=0, state="FINISHED")
    assert controller.propose(1) is Proposal.EXHAUSTED


def test_hosted_sweep_survives_conflicting_inserts(tmp_path: Path) -> None:
    kit, server = Kit(tmp_path, GRID), Server()
    server.change(n_expected=None)
    controller, other = hosted_controller(kit, server), hosted_controller(kit, server)
    before_each_insert(kit, lambda: other.propose(1))
    assert controller.propose(1) is Proposal.CONTENDED
