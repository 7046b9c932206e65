"""Sweep, agents and backend in any order of steps: no order that hypothesis tries loses or repeats a trial."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from smsweep.core.sweep import SweepState
from smsweep.core.trial import Params, Trial, TrialState
from smsweep.engine.agent import Agent
from smsweep.engine.agent_state import ShutdownLevel
from smsweep.errors import BackendUnavailable, CapacityError, SmsweepError, StoreConflict
from smsweep.runtime.job.trial_document import Assignment
from tests.support.agent_kit import Kit, logged
from tests.support.scripted_backend import Plot, ScriptedBackend

N_CELLS = 5
POINTS = 3
ENDED = {TrialState.FINISHED, TrialState.FAILED, TrialState.CRASHED, TrialState.STOPPED, TrialState.KILLED}
NAMES = st.sampled_from(["ann", "bob", "carl"])


def plot(trial: Assignment) -> Plot:
    """Return the script of a cell: most finish, one fails, one is stopped by a rule, and one is lost once."""
    x = trial.params["x"]
    pages = [[logged(step, loss=float(x * 10 + step))] for step in range(POINTS)]
    if x == 1:
        return Plot(pages, status="Failed", exit_code=1, failure_reason="ValueError: one")
    if x == 3 and trial.attempt == 0:
        return Plot(pages[:1], status="Failed", exit_code=None, is_lost=True, failure_reason="lost")
    return Plot(pages, ends=x != 4)


class Interleavings(RuleBasedStateMachine):
    """Runs agents one tick at a time. Dropping an agent equals kill -9 between two calls to store or backend."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        config = {
            "program": "train.py",
            "method": "grid",
            "metric": {"name": "loss", "goal": "minimize"},
            "parameters": {"x": {"values": list(range(N_CELLS))}},
        }
        self.kit = Kit(Path(self.folder.name), config)
        self.backend = ScriptedBackend(plot)
        self.agents: dict[str, Agent] = {}
        self.n_agents = 0
        self.seen_end: dict[int, tuple[TrialState, int]] = {}
        self.n_conflicts = self.n_outrun = 0
        self._add_trials, self._claim = self.kit.store.add_trials, self.kit.store.claim
        self.kit.store.add_trials = self._add_late  # type: ignore[method-assign]
        self.kit.store.claim = self._claim_late  # type: ignore[method-assign]

    @initialize()
    def start_one(self) -> None:
        self.start("ann", 1)

    @rule(name=NAMES, parallel=st.integers(1, 3))
    def start(self, name: str, parallel: int) -> None:
        """Start an agent. A running agent with the same name counts as killed."""
        self.n_agents += 1
        agent_id = f"{name}-{self.n_agents}"
        self.agents[name] = self.kit.agent(
            self.backend, agent_id=agent_id, parallel=parallel, stop_if=["loss > 40 after 2"]
        )

    @precondition(lambda self: self.agents)
    @rule(name=NAMES, n=st.integers(1, 4))
    def tick(self, name: str, n: int) -> None:
        for _ in range(n):
            self._tick(name)

    @precondition(lambda self: self.agents)
    @rule(name=NAMES)
    def leave(self, name: str) -> None:
        """Notify an agent that its machine shuts down, and run its first step of the shutdown."""
        if name in self.agents:
            self.agents[name].leave(ShutdownLevel.STOP, machine_goes=True)
            self._tick(name)

    @rule(seconds=st.sampled_from([1, 21, 61]))
    def pass_time(self, seconds: int) -> None:
        self.kit.advance(seconds)

    @rule()
    def refuse(self) -> None:
        self.backend.refusals += [BackendUnavailable("no answer"), CapacityError("no machine")]

    @rule(n=st.integers(1, 6))
    def conflict(self, n: int) -> None:
        """Make the next n inserts of trials conflict with another agent, which inserts a trial first."""
        self.n_conflicts = n

    @rule(n=st.integers(1, 3))
    def outrun(self, n: int) -> None:
        """Make the next n claims fail: another agent claims the oldest pending trial first, and is lost later."""
        self.n_outrun = n

    @rule(to=st.sampled_from([SweepState.PAUSED, SweepState.RUNNING]))
    def pause_or_resume(self, to: SweepState) -> None:
        try:
            self.kit.store.set_sweep_state(self.kit.sweep.id, [SweepState.RUNNING, SweepState.PAUSED], to)
        except StoreConflict:
            return

    def _add_late(self, sweep_id: str, first_number: int, params: Sequence[Params], **options: Any) -> list[Trial]:
        if self.n_conflicts:
            self.n_conflicts -= 1
            self._add_trials(sweep_id, first_number, params[:1])
        return self._add_trials(sweep_id, first_number, params, **options)

    def _claim_late(
        self, sweep_id: str, agent_id: str, place: str, lease_s: float, **options: Any
    ) -> Trial | None:
        if self.n_outrun:
            self.n_outrun -= 1
            self._claim(sweep_id, "outrunner", place, lease_s, **options)
        return self._claim(sweep_id, agent_id, place, lease_s, **options)

    def _tick(self, name: str) -> None:
        if name not in self.agents:
            return
        try:
            self.agents[name].tick()
        except SmsweepError as err:
            assert err.retryable, err

    @invariant()
    def each_cell_is_there_once(self) -> None:
        cells = [trial.params["x"] for trial in self.kit.trials()]
        assert cells == list(range(len(cells)))

    @invariant()
    def an_end_is_an_end(self) -> None:
        for trial in self.kit.trials():
            if trial.state in ENDED:
                assert self.seen_end.setdefault(trial.number, (trial.state, trial.attempt)) == (
                    trial.state,
                    trial.attempt,
                )
            else:
                assert trial.number not in self.seen_end

    @invariant()
    def at_most_one_job_of_a_trial_is_alive(self) -> None:
        alive = [
            name.rsplit("-", 1)[0] for name, job in self.backend.jobs.items() if not self.backend._has_ended(job)
        ]
        assert len(alive) == len(set(alive))
        assert len(self.backend.submitted) == len(set(self.backend.submitted))

    @invariant()
    def finished_sweep_has_tried_every_cell(self) -> None:
        if self.kit.store.get_sweep(self.kit.sweep.id).state is SweepState.FINISHED:
            trials = self.kit.trials()
            assert len(trials) == N_CELLS
            assert {trial.state for trial in trials} <= ENDED

    def teardown(self) -> None:
        """Check that a new agent can complete the sweep after all leases have expired."""
        self.backend.refusals.clear()
        self.n_outrun = 0
        self.pause_or_resume(SweepState.RUNNING)
        self.kit.advance(120)
        self.kit.slept = 0
        with closing(self.kit.store):
            self.kit.agent(self.backend, agent_id="heir", parallel=2, stop_if=["loss > 40 after 2"]).run()
            trials = self.kit.trials()
            assert [trial.params["x"] for trial in trials] == list(range(N_CELLS))
            states = [trial.state.value for trial in trials]
            assert states == ["finished", "failed", "finished", "finished", "stopped"], states
            for trial in trials:
                steps = [point.step or 0 for point in self.kit.store.read_points(self.kit.sweep.id, trial.number)]
                assert steps == sorted(set(steps)), "each point is stored once"
                assert len(steps) == POINTS or trial.params["x"] == 4
            assert not [name for name, job in self.backend.jobs.items() if not self.backend._has_ended(job)]
        self.folder.cleanup()


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
