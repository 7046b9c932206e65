from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from smsweep.core.job import JobStatus, LogPage, TrainingJobRequest
from smsweep.core.sweep import VERBS, SweepState
from smsweep.core.trial import Trial, TrialState
from smsweep.engine.agent import LEASE_S
from smsweep.engine.agent_state import ShutdownLevel
from smsweep.engine.log_ingest import LogIngester
from smsweep.engine.metric_parser import MetricParser
from smsweep.engine.places import Place
from smsweep.errors import BackendUnavailable, CapacityError, JobRejected, QuotaExceeded, StoreDamaged
from smsweep.runtime.job.trial_document import Assignment
from smsweep.store import notes
from tests.support.agent_kit import Kit, logged
from tests.support.scripted_backend import Plot, ScriptedBackend

GRID = {
    "method": "grid",
    "program": "train.py",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"a": {"values": [3, 1, 2]}, "b": {"values": ["x", "y"]}},
}
ENDLESS = {"method": "random", "program": "train.py", "parameters": {"a": {"min": 0.0, "max": 1.0}}}


def reports_metric_a(trial: Assignment) -> Plot:
    return Plot(pages=[[logged(0, loss=trial.params["a"] + 1)], [logged(1, loss=trial.params["a"])]])


def never_ends(trial: Assignment) -> Plot:
    return Plot(ends=False)


def fails(trial: Assignment) -> Plot:
    return Plot(status="Failed", failure_reason="ValueError: no", exit_code=1)


def set_state(kit: Kit, verb: str) -> None:
    expect, to = VERBS[verb]
    kit.store.set_sweep_state(kit.sweep.id, expect, to)


def test_grid_runs_to_its_end(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)
    outcome = kit.agent(ScriptedBackend(reports_metric_a), parallel=2).run()
    assert outcome.ended == {TrialState.FINISHED: 6}
    assert kit.store.get_sweep("abcd1234").state is SweepState.FINISHED


def test_trials_follow_the_order_of_the_grid(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)
    kit.agent(ScriptedBackend(reports_metric_a)).run()
    assert [(trial.params["a"], trial.params["b"]) for trial in kit.trials()] == [
        (3, "x"),
        (3, "y"),
        (1, "x"),
        (1, "y"),
        (2, "x"),
        (2, "y"),
    ]


def test_agent_runs_no_more_jobs_than_slots(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)
    backend = ScriptedBackend(reports_metric_a)
    kit.agent(backend, parallel=3).run()
    assert backend.most_alive == 3


def test_each_reported_point_is_stored_once(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)
    kit.agent(ScriptedBackend(reports_metric_a)).run()
    points = kit.store.read_points("abcd1234", 0)
    assert [(point.step, point.value) for point in points] == [(0, 4), (1, 3)]


def test_two_agents_share_sweep_without_repeats(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)
    backend = ScriptedBackend(reports_metric_a)
    first, second = kit.agent(backend, agent_id="a"), kit.agent(backend, agent_id="b")
    for _ in range(60):
        first.tick()
        second.tick()
    assert sorted(backend.submitted) == [f"smsweep-abcd1234-{number}-0" for number in range(6)]


def test_count_limits_the_trials_of_one_agent(tmp_path: Path) -> None:
    kit = Kit(tmp_path, ENDLESS)
    kit.agent(ScriptedBackend(lambda trial: Plot()), count=4, parallel=3).run()
    assert kit.states() == ["finished"] * 4


def test_run_cap_counts_over_all_agents(tmp_path: Path) -> None:
    kit = Kit(tmp_path, {**ENDLESS, "run_cap": 5})
    kit.agent(ScriptedBackend(lambda trial: Plot()), count=3).run()
    kit.agent(ScriptedBackend(lambda trial: Plot()), agent_id="b").run()
    assert len(kit.trials()) == 5


def test_job_whose_submission_got_no_answer_is_found_and_stopped(tmp_path: Path) -> None:
    kit = Kit(tmp_path, {**ENDLESS, "run_cap": 1})
    backend = ScriptedBackend(never_ends)
    backend.loses_answers = 1
    agent = kit.agent(backend)
    agent.tick()
    set_state(kit, "cancel")
    agent.run()
    assert backend.submitted == ["smsweep-abcd1234-0-0"]
    assert backend.jobs["smsweep-abcd1234-0-0"].stopped
    assert kit.states() == ["killed"]


def test_final_metrics_of_platform_fill_only_missing_metrics(tmp_path: Path) -> None:
    kit = Kit(tmp_path, {**ENDLESS, "run_cap": 1})
    plot = Plot(pages=[[logged(0, loss=1.0)]], final_metrics={"loss": 9.0, "acc": 0.5})
    kit.agent(ScriptedBackend(lambda trial: plot)).run()
    points = kit.store.read_points("abcd1234", 0)
    assert [(point.name, point.value) for point in points] == [("loss", 1.0), ("acc", 0.5)]


@pytest.mark.parametrize("state", [TrialState.RUNNING, TrialState.STOPPING])
def test_sweep_is_not_finished_while_another_agent_holds_a_trial(tmp_path: Path, state: TrialState) -> None:
    kit = Kit(tmp_path, {**ENDLESS, "run_cap": 1})
    kit.agent(ScriptedBackend(never_ends)).tick()
    if state is TrialState.STOPPING:
        kit.store.move("abcd1234", 0, [TrialState.RUNNING], state, asked_by="person")
    kit.agent(ScriptedBackend(never_ends), agent_id="b").tick()
    assert kit.states() == [state.value]
    assert kit.store.get_sweep("abcd1234").state is SweepState.RUNNING


def test_budget_limits_trials_that_run_at_once(tmp_path: Path) -> None:
    kit = Kit(tmp_path, ENDLESS)
    backend = ScriptedBackend(never_ends)
    agents = [kit.agent(backend, agent_id=name, parallel=3, hours=2) for name in "ab"]
    for _ in range(5):
        for agent in agents:
            agent.tick()
    assert kit.states() == ["running", "running"]
    assert sorted(backend.submitted) == ["smsweep-abcd1234-0-0", "smsweep-abcd1234-1-0"]


def test_trial_over_the_budget_becomes_pending_again(tmp_path: Path) -> None:
    kit = Kit(tmp_path, ENDLESS)
    kit.store.add_trials("abcd1234", 0, [{"a": 0.1}, {"a": 0.2}])
    backend = ScriptedBackend(never_ends)
    agent = kit.agent(backend, hours=1)
    claim = kit.store.claim

    def claim_late(*args: Any, **options: Any) -> Any:
        kit.store.claim = claim  # type: ignore[method-assign]
        assert claim("abcd1234", "b", "elsewhere", 60) is not None
        return claim(*args, **options)

    kit.store.claim = claim_late  # type: ignore[method-assign]
    agent.tick()
    assert kit.states() == ["running", "pending"]
    assert not backend.submitted
    assert "the budget does not cover this one" in kit.trials()[1].reason


def test_unread_trial_of_another_agent_keeps_the_budget(tmp_path: Path) -> None:
    """Another agent adds trials and claims one of them, just before this agent claims the next."""
    kit = Kit(tmp_path, ENDLESS)
    kit.store.add_trials("abcd1234", 0, [{"a": 0.1}])
    backend = ScriptedBackend(never_ends)
    agent = kit.agent(backend, hours=1)
    claim = kit.store.claim

    def claim_late(*args: Any, **options: Any) -> Any:
        kit.store.claim = claim  # type: ignore[method-assign]
        kit.store.add_trials("abcd1234", 1, [{"a": 0.2}])
        assert claim("abcd1234", "b", "elsewhere", 60) is not None
        return claim(*args, **options)

    kit.store.claim = claim_late  # type: ignore[method-assign]
    agent.tick()
    assert kit.states() == ["running", "pending"]
    assert not backend.submitted


def test_job_of_an_adopted_trial_continues_beyond_a_lower_budget(tmp_path: Path) -> None:
    """While an agent is frozen, another agent claims a pending trial, starts its job and is lost."""
    kit = Kit(tmp_path, ENDLESS)
    kit.store.add_trials("abcd1234", 0, [{"a": 0.1}, {"a": 0.2}])
    backend = ScriptedBackend(never_ends)
    agent = kit.agent(backend, hours=1)
    claim = kit.store.claim

    def claim_late(*args: Any, **options: Any) -> Any:
        kit.store.claim = claim  # type: ignore[method-assign]
        kit.agent(backend, agent_id="b", parallel=2, hours=2).tick()
        kit.advance(61)
        return claim(*args, **options)

    kit.store.claim = claim_late  # type: ignore[method-assign]
    agent.tick()
    assert kit.states() == ["running", "running"]
    assert [trial.attempt for trial in kit.trials()] == [0, 0]


def test_agent_that_was_frozen_before_a_start_leaves_the_job_to_its_successor(tmp_path: Path) -> None:
    kit = Kit(tmp_path, ENDLESS)
    here, there = ScriptedBackend(never_ends), ScriptedBackend(never_ends)
    successor = kit.agent(there, agent_id="b")

    def freeze(trial: Trial) -> TrainingJobRequest:
        kit.advance(LEASE_S + 1)
        successor.tick()
        return kit.render(trial)

    kit.agent(here, places=[Place(backend=here, render=freeze)]).tick()
    assert there.submitted == ["smsweep-abcd1234-0-0"]
    assert not here.submitted


def test_outlook_is_stored_and_stops_nothing(tmp_path: Path) -> None:
    kit = Kit(tmp_path, {**GRID, "method": "random", "run_cap": 9})
    agent = kit.agent(ScriptedBackend(reports_metric_a))
    for _ in range(3):
        agent.tick()
    assert not notes.OUTLOOK.get(kit.store, "abcd1234")
    agent.run()
    assert "all 6 assignments" in notes.OUTLOOK.get(kit.store, "abcd1234")
    assert len(kit.trials()) == 9


def test_no_trial_starts_after_the_target_is_reached(tmp_path: Path) -> None:
    kit = Kit(tmp_path, {**GRID, "metric": {"name": "loss", "goal": "minimize", "target": 1.5}})
    kit.agent(ScriptedBackend(reports_metric_a)).run()
    assert len(kit.trials()) == 3
    assert "the target is reached" in notes.OUTLOOK.get(kit.store, "abcd1234")


def test_trial_without_the_metric_fails_and_names_similar_metrics(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)
    kit.agent(ScriptedBackend(lambda trial: Plot(pages=[[logged(0, los=1.0)]])), count=1).run()
    (trial,) = kit.trials()
    assert (trial.state, "los" in trial.reason) == (TrialState.FAILED, True)


def test_first_failures_stop_the_agent_with_their_grouped_reason(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)
    outcome = kit.agent(ScriptedBackend(fails)).run()
    assert outcome.trouble == ("the first 3 trials failed, so this agent starts no more: 3 x ValueError: no")
    assert kit.states() == ["failed"] * 3


@pytest.mark.parametrize(
    "config", [{**ENDLESS, "run_cap": 3}, {**GRID, "parameters": {"a": {"values": [1, 2, 3]}}}]
)
def test_sweep_finishes_when_last_trial_reaches_failure_limit(tmp_path: Path, config: Any) -> None:
    kit = Kit(tmp_path, config)
    assert kit.agent(ScriptedBackend(fails)).run().trouble
    assert kit.store.get_sweep("abcd1234").state is SweepState.FINISHED


def test_sweep_finishes_when_last_trial_reaches_agent_count(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)
    kit.agent(ScriptedBackend(reports_metric_a), count=5).run()
    assert kit.store.get_sweep("abcd1234").state is SweepState.RUNNING
    kit.agent(ScriptedBackend(reports_metric_a), count=1, agent_id="b").run()
    assert kit.store.get_sweep("abcd1234").state is SweepState.FINISHED


def test_success_at_the_start_ends_the_limit_of_first_failures(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)
    outcome = kit.agent(
        ScriptedBackend(lambda trial: reports_metric_a(trial) if trial.number == 0 else fails(trial))
    ).run()
    assert (outcome.trouble, kit.states()) == ("", ["finished"] + ["failed"] * 5)


def test_consecutive_failures_stop_the_agent_at_any_time(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)
    backend = ScriptedBackend(lambda trial: reports_metric_a(trial) if trial.number == 0 else fails(trial))
    assert "2 trials in a row failed" in kit.agent(backend, max_consecutive=2).run().trouble


def test_lost_job_is_retried_once(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)
    lost = Plot(status="Failed", failure_reason="machine gone", exit_code=None, is_lost=True)
    backend = ScriptedBackend(
        lambda trial: lost if trial.number == 1 and trial.attempt == 0 else reports_metric_a(trial)
    )
    kit.agent(backend).run()
    assert kit.trials()[1].attempt == 1
    assert kit.states() == ["finished"] * 6


def test_trial_crashes_when_its_job_is_lost_too_often(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)
    lost = Plot(status="Failed", failure_reason="machine gone", exit_code=None, is_lost=True)
    kit.agent(ScriptedBackend(lambda trial: lost if trial.number == 1 else reports_metric_a(trial))).run()
    assert (kit.trials()[1].state, kit.trials()[1].reason) == (TrialState.CRASHED, "machine gone")


def test_lack_of_capacity_delays_trial(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)
    backend = ScriptedBackend(reports_metric_a)
    backend.refusals = [CapacityError("none left")] * 3
    kit.agent(backend).run()
    assert kit.states() == ["finished"] * 6


def test_rejected_job_fails_trial_at_once(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)
    backend = ScriptedBackend(reports_metric_a)
    backend.refusals = [JobRejected("no such image")]
    kit.agent(backend).run()
    assert kit.states() == ["failed"] + ["finished"] * 5


def test_next_agent_takes_over_trials_of_killed_agent(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)
    backend = ScriptedBackend(reports_metric_a)
    dead = kit.agent(backend, agent_id="dead", parallel=2)
    for _ in range(2):
        dead.tick()
    kit.advance(61)
    kit.agent(backend, agent_id="heir", parallel=2).run()
    assert backend.submitted == [f"smsweep-abcd1234-{number}-0" for number in range(6)]
    assert [len(kit.store.read_points("abcd1234", number)) for number in range(6)] == [2] * 6


def test_lease_of_killed_agent_holds_until_it_expires(tmp_path: Path) -> None:
    kit = Kit(tmp_path, {**GRID, "run_cap": 1})
    backend = ScriptedBackend(never_ends)
    kit.agent(backend, agent_id="dead").tick()
    other = kit.agent(backend, agent_id="heir")
    other.tick()
    assert kit.trials()[0].agent_id == "dead"


def test_leases_are_renewed_while_logs_take_long_to_read(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)

    class Slow(ScriptedBackend):
        def read_logs(self, name: str, cursor: str = "") -> LogPage:
            kit.advance(25)
            return super().read_logs(name, cursor)

    agent = kit.agent(Slow(never_ends), parallel=4)
    for _ in range(3):  # reading all four logs takes longer than a lease
        agent.tick()
        assert kit.store.claim(kit.sweep.id, "other", "scripted@here", 60, abandoned_only=True) is None
    assert [trial.agent_id for trial in kit.trials()] == ["a"] * 4


def test_long_log_does_not_block_the_agent(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)
    seconds = iter(range(1_000))

    class Endless(ScriptedBackend):
        def read_logs(self, name: str, cursor: str = "") -> LogPage:
            return LogPage(lines=("more",), cursor=str(int(cursor or 0) + 1))

    intake = LogIngester(
        kit.store,
        MetricParser(),
        "a",
        lambda: kit.clock_now,
        lambda trial: None,
        lambda: next(seconds),  # each page takes a second
    )
    kit.store.add_trials(kit.sweep.id, 0, [{"a": 3, "b": "x"}])
    trial = kit.store.claim(kit.sweep.id, "a", "scripted@here", 60)
    assert trial is not None
    read, is_complete = intake.read(trial, Endless(never_ends))
    assert (read.cursor, is_complete) == ("2", False)


def test_agent_that_lost_its_lease_does_not_change_the_trial(tmp_path: Path) -> None:
    kit = Kit(tmp_path, {**GRID, "run_cap": 1})
    backend = ScriptedBackend(never_ends)
    sleeper = kit.agent(backend, agent_id="sleeper")
    sleeper.tick()
    kit.advance(61)
    kit.agent(backend, agent_id="heir").tick()
    sleeper.tick()
    assert kit.trials()[0].agent_id == "heir"
    assert backend.stops == []


def test_late_read_of_old_attempt_adds_no_points(tmp_path: Path) -> None:
    kit = Kit(tmp_path, {**GRID, "run_cap": 1})
    backend = ScriptedBackend(lambda trial: Plot(pages=[[logged(0, loss=1.0)], [logged(1, loss=0.5)]]))
    late = kit.agent(backend, agent_id="late")
    late.tick()
    kit.advance(61)
    heir = kit.agent(ScriptedBackend(reports_metric_a, place="scripted@there"), agent_id="heir")
    heir.run()
    late.run()
    assert [point.value for point in kit.store.read_points("abcd1234", 0)] == [4, 3]


def test_removed_last_trial_runs_again(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)
    kit.agent(ScriptedBackend(reports_metric_a)).run()
    kit.store.remove_trial("abcd1234", 5)
    set_state(kit, "resume")
    kit.agent(ScriptedBackend(reports_metric_a), agent_id="b").run()
    assert [trial.number for trial in kit.trials()] == [0, 1, 2, 3, 4, 6]


def test_trial_with_unreachable_job_is_retried(tmp_path: Path) -> None:
    kit = Kit(tmp_path, {**GRID, "run_cap": 1})
    kit.agent(ScriptedBackend(never_ends, place="process@there"), agent_id="dead").tick()
    kit.advance(61)
    here = ScriptedBackend(reports_metric_a, place="process@here")
    kit.agent(here, agent_id="heir").run()
    assert here.submitted == ["smsweep-abcd1234-0-1"]
    assert kit.states() == ["finished"]


def test_paused_sweep_starts_no_trials_until_resumed(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)
    agent = kit.agent(ScriptedBackend(reports_metric_a))
    set_state(kit, "pause")
    for _ in range(5):
        agent.tick()
    assert kit.trials() == []
    set_state(kit, "resume")
    agent.run()
    assert kit.states() == ["finished"] * 6


def test_stopped_sweep_lets_running_trials_finish(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)
    agent = kit.agent(ScriptedBackend(reports_metric_a), parallel=2)
    agent.tick()
    set_state(kit, "stop")
    agent.run()
    assert kit.states() == ["finished"] * 2


def test_cancelled_sweep_stops_running_trials_with_grace_period(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)
    backend = ScriptedBackend(never_ends)
    agent = kit.agent(backend, parallel=2, grace_s=7)
    agent.tick()
    set_state(kit, "cancel")
    agent.run()
    assert kit.states() == ["killed"] * 2
    assert [grace for _, grace in backend.stops] == [7, 7]


@pytest.mark.parametrize("is_taken_over", [False, True])
def test_sweep_that_is_cancelled_twice_kills_running_trials_at_once(tmp_path: Path, is_taken_over: bool) -> None:
    kit = Kit(tmp_path, GRID)
    backend = ScriptedBackend(never_ends)
    agent = kit.agent(backend)
    agent.tick()
    set_state(kit, "cancel")
    set_state(kit, "cancel")
    if is_taken_over:
        kit.store.release("a")
        agent = kit.agent(backend, agent_id="b")
    agent.run()
    assert kit.states() == ["killed"]
    assert {grace for _, grace in backend.stops} == {0}


def test_sweep_that_is_resumed_after_two_cancels_has_grace_period_again(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)
    for verb in ("cancel", "cancel", "resume"):
        set_state(kit, verb)
    backend = ScriptedBackend(never_ends)
    agent = kit.agent(backend, grace_s=7)
    agent.tick()
    set_state(kit, "cancel")
    agent.run()
    assert [grace for _, grace in backend.stops] == [7]


@pytest.mark.parametrize(("presses", "state"), [(2, "killed"), (3, "killed")])
def test_repeated_shutdown_request_ends_running_trials(tmp_path: Path, presses: int, state: str) -> None:
    kit = Kit(tmp_path, GRID)
    agent = kit.agent(ScriptedBackend(never_ends))
    agent.tick()
    for _ in range(presses):
        agent.leave()
    agent.run()
    assert kit.states() == [state]


class Unreachable(ScriptedBackend):
    """Backend that raises on every question after it runs a job."""

    def describe(self, names: Collection[str]) -> dict[str, JobStatus]:
        if self.submitted:
            raise BackendUnavailable("the network is down")
        return {}


@pytest.mark.parametrize("machine_goes", [True, False])
def test_agent_that_must_exit_does_not_wait_for_unreachable_backend(tmp_path: Path, machine_goes: bool) -> None:
    kit = Kit(tmp_path, GRID)
    agent = kit.agent(Unreachable(never_ends))

    def leave_soon() -> None:
        if kit.slept == 4:
            agent.leave(ShutdownLevel.KILL, machine_goes=machine_goes)

    kit.on_sleep = leave_soon
    with pytest.raises(BackendUnavailable):
        agent.run()
    assert 20 < kit.slept < 80  # ten seconds
    assert kit.states() == ["running"]


class TemporarilyUnreachable(ScriptedBackend):
    """Backend that raises on every question while `is_unreachable` is set."""

    is_unreachable = False

    def describe(self, names: Collection[str]) -> dict[str, JobStatus]:
        if self.is_unreachable:
            raise BackendUnavailable("the network is down")
        return super().describe(names)


def test_taken_over_trial_keeps_its_state_until_its_job_can_be_described(tmp_path: Path) -> None:
    kit = Kit(tmp_path, {**GRID, "run_cap": 1})
    backend = TemporarilyUnreachable(never_ends)
    kit.agent(backend, agent_id="dead").tick()
    kit.advance(61)
    backend.is_unreachable = True
    heir = kit.agent(backend, agent_id="heir")
    heir.tick()
    heir.leave(ShutdownLevel.STOP)

    def mend_later() -> None:
        if backend.is_unreachable:
            assert (kit.states(), backend.stops) == (["stopping"], [])
        backend.is_unreachable = kit.slept < 10

    kit.on_sleep = mend_later
    heir.run()
    assert backend.stops == [("smsweep-abcd1234-0-0", None)]
    assert kit.states() == ["killed"]


@pytest.mark.parametrize(("machine_goes", "state"), [(True, "pending"), (False, "killed")])
def test_waiting_trial_ends_like_a_running_one_on_shutdown(tmp_path: Path, machine_goes: bool, state: str) -> None:
    kit = Kit(tmp_path, {**GRID, "run_cap": 1})
    backend = ScriptedBackend(never_ends)
    backend.refusals = [CapacityError("none left")] * 100
    agent = kit.agent(backend)
    agent.tick()
    agent.leave(ShutdownLevel.STOP, machine_goes=machine_goes)
    agent.run()
    (trial,) = kit.trials()
    assert (trial.state, backend.submitted) == (state, [])


@pytest.mark.parametrize("verb", ["Ctrl-C", "pause", "stop"])
def test_waiting_trial_gets_no_job_when_sweep_or_agent_stops(tmp_path: Path, verb: str) -> None:
    kit = Kit(tmp_path, GRID)
    backend = ScriptedBackend(reports_metric_a)
    agent = kit.agent(backend)
    backend.refusals = [QuotaExceeded("one at a time", limit=1)]
    agent.tick()
    assert kit.states() == ["running"]
    if verb == "Ctrl-C":
        agent.leave()
    else:
        set_state(kit, verb)
    for _ in range(4):
        agent.tick()
    assert (backend.submitted, kit.states()) == ([], ["pending"])


def test_waiting_trial_gets_no_job_when_agent_gives_up(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)

    def quota_of_three(trial: Assignment) -> Plot:
        if trial.number == 2:
            backend.refusals = [QuotaExceeded("three at a time", limit=3)]
        return fails(trial)

    backend = ScriptedBackend(quota_of_three)
    outcome = kit.agent(backend, parallel=4).run()
    assert "first 3 trials failed" in outcome.trouble
    assert (len(backend.submitted), kit.states()) == (3, [*["failed"] * 3, "pending"])


def test_trial_that_becomes_pending_again_does_not_use_up_the_count(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)
    backend = ScriptedBackend(reports_metric_a)
    agent = kit.agent(backend, count=1)
    backend.refusals = [QuotaExceeded("none now", limit=1)]
    agent.tick()
    set_state(kit, "pause")
    agent.tick()
    set_state(kit, "resume")
    agent.run()
    assert kit.states() == ["finished"]


def test_stopped_job_that_backend_forgot_does_not_block_the_agent(tmp_path: Path) -> None:
    kit = Kit(tmp_path, {**GRID, "run_cap": 1})
    backend = ScriptedBackend(never_ends)
    agent = kit.agent(backend)
    agent.tick()
    kit.store.move("abcd1234", 0, [TrialState.RUNNING], TrialState.STOPPING, reason="a rule", asked_by="rule")
    agent.tick()
    backend.jobs.clear()
    agent.run()
    (trial,) = kit.trials()
    assert (trial.state, trial.reason) == (TrialState.STOPPED, "a rule")


def test_agent_exits_when_store_is_damaged(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)
    agent = kit.agent(ScriptedBackend(never_ends))
    agent.tick()
    kit.store.close()  # its next call opens a new connection
    (tmp_path / "store.db").write_bytes(b"\xff" * 8192)
    with pytest.raises(StoreDamaged):
        agent.run()


def test_first_shutdown_request_lets_running_trials_finish(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)
    agent = kit.agent(ScriptedBackend(reports_metric_a), parallel=2)
    agent.tick()
    agent.leave()
    agent.run()
    assert kit.states() == ["finished"] * 2


def test_shutdown_of_machine_makes_trials_pending(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)
    agent = kit.agent(ScriptedBackend(never_ends))
    agent.tick()
    agent.leave(ShutdownLevel.STOP, machine_goes=True)
    agent.run()
    (trial,) = kit.trials()
    assert (trial.state, trial.attempt) == (TrialState.PENDING, 1)


def test_hyperband_stops_bad_trial_with_reason(tmp_path: Path) -> None:
    config = {
        **GRID,
        "parameters": {"a": {"values": [1, 2, 3, 9]}},
        "early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 2},
    }
    kit = Kit(tmp_path, config)

    def slow(trial: Assignment) -> Plot:
        loss = trial.params["a"]
        return Plot(pages=[[logged(0, loss=loss)]], ends=loss != 9)

    kit.agent(ScriptedBackend(slow), parallel=4).run()
    last = kit.trials()[3]
    assert last.state is TrialState.STOPPED
    assert "hyperband" in last.reason


def test_job_is_stopped_in_the_tick_that_reads_the_cause(tmp_path: Path) -> None:
    kit = Kit(tmp_path, {**ENDLESS, "run_cap": 1})
    pages = [[logged(0, loss=1.0)], [logged(1, loss=99.0)]]
    backend = ScriptedBackend(lambda trial: Plot(pages=pages, ends=False))
    agent = kit.agent(backend, stop_if=["loss > 10"])
    for _ in range(2):
        agent.tick()
    assert backend.stops == []
    agent.tick()
    assert backend.stops == [("smsweep-abcd1234-0-0", None)]
    assert kit.states() == ["stopping"]


def test_same_seed_draws_same_trials_with_any_number_of_agents(tmp_path: Path) -> None:
    drawn = []
    for name, agents in (("one", 1), ("three", 3)):
        folder = tmp_path / name
        folder.mkdir()
        kit = Kit(folder, {**ENDLESS, "run_cap": 9}, seed=7)
        backend = ScriptedBackend(lambda trial: Plot())
        workers = [kit.agent(backend, agent_id=str(i)) for i in range(agents)]
        for _ in range(60):
            for worker in workers:
                worker.tick()
        drawn.append([trial.params["a"] for trial in kit.trials()])
    assert drawn[0] == drawn[1]
    assert len(drawn[0]) == 9
