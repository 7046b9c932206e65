from __future__ import annotations

import random
from collections.abc import Collection
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from smsweep.core.budget import Budget
from smsweep.core.job import JobStatus, Price, TrainingJobRequest
from smsweep.core.trial import Trial, TrialState
from smsweep.engine.agent_state import ShutdownLevel
from smsweep.engine.places import FIRST_REST_S, JITTER, LOST_S, Place, Places
from smsweep.errors import BackendUnavailable, CapacityError, DevicesInUse, QuotaExceeded, Throttled
from smsweep.runtime.job.trial_document import Assignment
from smsweep.store import notes
from tests.support.agent_kit import Kit, logged
from tests.support.scripted_backend import Plot, ScriptedBackend

SIX = {"method": "grid", "program": "train.py", "parameters": {"a": {"values": [1, 2, 3, 4, 5, 6]}}}
LONG_REST_S = FIRST_REST_S * (1 + JITTER)


def ends(trial: Assignment) -> Plot:
    return Plot(pages=[[logged(0, loss=1.0)]])


def never_ends(trial: Assignment) -> Plot:
    return Plot(ends=False)


def place_of(kit: Kit, backend: ScriptedBackend, name: str, slots: int = 1, **options: Any) -> Place:
    return Place(backend=backend, render=kit.render, name=name, slots=slots, **options)


def two_places(
    kit: Kit, slots: tuple[int, int] = (1, 1), **second: Any
) -> tuple[ScriptedBackend, ScriptedBackend, list[Place]]:
    near, far = ScriptedBackend(never_ends, "process@here"), ScriptedBackend(never_ends, "sagemaker@there")
    return near, far, [place_of(kit, near, "local", slots[0]), place_of(kit, far, "cloud", slots[1], **second)]


def names(kit: Kit) -> list[str]:
    """Return the places of the trials that were claimed."""
    return [trial.place_name for trial in kit.trials() if trial.state is not TrialState.PENDING]


def because(kit: Kit, trial: Trial) -> list[str]:
    """Return why a trial does not run at an earlier place."""
    note = notes.placement(trial).get(kit.store, trial.sweep_id)
    assert note is not None
    assert note["place"] == trial.place_name
    return list(note["because"])


class Refusing(ScriptedBackend):
    """Refuses every job with an error."""

    def __init__(self, error: Exception, place: str) -> None:
        super().__init__(never_ends, place)
        self.error = error
        self.n_asked = 0

    def submit(self, request: TrainingJobRequest) -> None:
        self.n_asked += 1
        raise self.error


def test_agent_fills_first_place_and_overflows_to_next(tmp_path: Path) -> None:
    kit = Kit(tmp_path, SIX)
    near, far, places = two_places(kit, (2, 3))
    kit.agent(near, places=places).tick()
    assert names(kit) == ["local", "local", "cloud", "cloud", "cloud"]
    assert (len(near.submitted), len(far.submitted)) == (2, 3)


def test_freed_slot_of_first_place_is_used_first(tmp_path: Path) -> None:
    kit = Kit(tmp_path, SIX)
    near, far = ScriptedBackend(ends, "process@here"), ScriptedBackend(never_ends, "sagemaker@there")
    agent = kit.agent(near, places=[place_of(kit, near, "local"), place_of(kit, far, "cloud")])
    while "finished" not in kit.states():
        agent.tick()
    assert names(kit) == ["local", "cloud", "local"]


def test_sweep_over_two_places_runs_each_trial_once(tmp_path: Path) -> None:
    kit = Kit(tmp_path, SIX)
    near, far = ScriptedBackend(ends, "process@here"), ScriptedBackend(ends, "sagemaker@there")
    outcome = kit.agent(near, places=[place_of(kit, near, "local"), place_of(kit, far, "cloud", 2)]).run()
    assert outcome.ended == {TrialState.FINISHED: 6}
    assert sorted(near.submitted + far.submitted) == sorted(trial.job_name for trial in kit.trials())
    assert set(near.submitted).isdisjoint(far.submitted)


@pytest.mark.parametrize("error", [CapacityError("no machine"), QuotaExceeded("limit of 0")])
def test_refused_trial_moves_to_next_place_under_the_same_name(tmp_path: Path, error: Exception) -> None:
    kit = Kit(tmp_path, {**SIX, "run_cap": 1})
    near, far = Refusing(error, "sagemaker@there"), ScriptedBackend(never_ends, "process@here")
    kit.agent(near, places=[place_of(kit, near, "spot"), place_of(kit, far, "local")]).tick()
    (trial,) = kit.trials()
    assert (trial.place, trial.place_name, trial.attempt) == ("process@here", "local", 0)
    assert far.submitted == [trial.job_name]
    (reason,) = because(kit, trial)
    assert reason.startswith("spot rests until 2026-01-02 00:00:")
    assert str(error) in reason


def test_new_place_is_stored_before_the_job_starts(tmp_path: Path) -> None:
    kit = Kit(tmp_path, {**SIX, "run_cap": 1})
    seen: list[Trial] = []

    class Watching(ScriptedBackend):
        def submit(self, request: TrainingJobRequest) -> None:
            seen.extend(kit.trials())
            super().submit(request)

    near, far = Refusing(CapacityError("none"), "sagemaker@there"), Watching(never_ends, "process@here")
    kit.agent(near, places=[place_of(kit, near, "spot"), place_of(kit, far, "local")]).tick()
    assert [(trial.place, trial.place_name) for trial in seen] == [("process@here", "local")]


def test_rests_double_up_to_a_limit(tmp_path: Path) -> None:
    kit = Kit(tmp_path, SIX)
    near, _, places = two_places(kit)
    agent = kit.agent(near, places=places)
    rests = []
    for _ in range(10):
        agent._places.rest(places[0], CapacityError("none"))
        started = kit.clock_now
        while agent._places.is_resting(places[0]):
            kit.advance(1)
        rests.append((kit.clock_now - started).total_seconds())
    assert rests[0] <= LONG_REST_S + 1
    assert rests[:5] == sorted(rests[:5])
    assert rests[4] > 8 * rests[0]
    assert 600 * (1 - JITTER) <= rests[-1] <= 600 * (1 + JITTER) + 1


def test_trial_waits_at_its_place_if_no_other_has_room(tmp_path: Path) -> None:
    kit = Kit(tmp_path, SIX)
    near, far = ScriptedBackend(never_ends, "process@here"), Refusing(CapacityError("none"), "sagemaker@there")
    agent = kit.agent(near, places=[place_of(kit, near, "local"), place_of(kit, far, "spot", 4)])
    agent.tick()
    agent.tick()
    assert names(kit)[:2] == ["local", "spot"]
    assert far.n_asked == 1  # it rests
    assert kit.states().count("running") == 2


def test_throttled_trial_stays_at_its_place(tmp_path: Path) -> None:
    kit = Kit(tmp_path, {**SIX, "run_cap": 1})
    error = Throttled("slow down")
    error.is_unsent = True
    near, far = Refusing(error, "sagemaker@there"), ScriptedBackend(never_ends, "process@here")
    kit.agent(near, places=[place_of(kit, near, "spot"), place_of(kit, far, "local")]).tick()
    assert names(kit) == ["spot"]
    assert far.submitted == []


def test_place_that_waits_for_its_rate_limit_is_filled_before_the_next(tmp_path: Path) -> None:
    kit = Kit(tmp_path, SIX)
    near, far, places = two_places(kit, (3, 2))
    error = Throttled("waits for its rate limit")
    error.is_unsent = True
    near.refusals = [error]
    agent = kit.agent(near, places=places)
    agent.tick()
    assert (names(kit), far.submitted) == (["local"], [])
    agent.tick()
    assert names(kit) == ["local", "local", "local", "cloud", "cloud"]


def test_throttled_place_with_one_slot_does_not_delay_the_next(tmp_path: Path) -> None:
    kit = Kit(tmp_path, SIX)
    near, _, places = two_places(kit, (1, 2))
    error = Throttled("waits for its rate limit")
    error.is_unsent = True
    near.refusals = [error]
    kit.agent(near, places=places).tick()
    assert names(kit) == ["local", "cloud", "cloud"]


def test_placement_names_the_error_of_an_earlier_place(tmp_path: Path) -> None:
    kit = Kit(tmp_path, SIX)
    near, _, places = two_places(kit, (2, 1))
    near.refusals = [Throttled("slow down")]  # an answer of the backend, after which other places are used
    kit.agent(near, places=places).tick()
    assert names(kit) == ["local", "cloud"]
    assert because(kit, kit.trials()[1]) == ["local accepted no job: slow down"]


def test_trial_with_a_lost_answer_does_not_move(tmp_path: Path) -> None:
    """The job may exist at the first place, so it must not start at another place."""
    kit = Kit(tmp_path, {**SIX, "run_cap": 1})
    near, far, places = two_places(kit)
    near.loses_answers = 1
    agent = kit.agent(near, places=places)
    for _ in range(3):
        agent.tick()
    assert names(kit) == ["local"]
    assert (len(near.submitted), far.submitted) == (1, [])


def test_job_that_fails_without_capacity_runs_again_at_next_place(tmp_path: Path) -> None:
    kit = Kit(tmp_path, {**SIX, "run_cap": 1})

    class NoCapacity(ScriptedBackend):
        def describe(self, names: Collection[str]) -> dict[str, JobStatus]:
            return {
                name: JobStatus(
                    name=name, status="Failed", failure_reason="CapacityError: none", failure_class="capacity"
                )
                for name in super().describe(names)
            }

        def _has_ended(self, job: Any) -> bool:
            return True

    near, far = NoCapacity(ends, "sagemaker@there"), ScriptedBackend(ends, "process@here")
    kit.agent(near, places=[place_of(kit, near, "spot"), place_of(kit, far, "local")]).run()
    (trial,) = kit.trials()
    assert (trial.state.value, trial.attempt, trial.place_name) == ("finished", 1, "local")
    assert len(near.submitted) == 1


def test_queued_job_moves_after_give_up_after(tmp_path: Path) -> None:
    kit = Kit(tmp_path, {**SIX, "run_cap": 1})

    class Queued(ScriptedBackend):
        def describe(self, names: Collection[str]) -> dict[str, JobStatus]:
            statuses = super().describe(names)
            return {
                name: JobStatus(name=name, status="InProgress", secondary_status="Starting")
                if status.status == "InProgress"
                else status
                for name, status in statuses.items()
            }

    near, far = Queued(never_ends, "sagemaker@there"), ScriptedBackend(ends, "process@here")
    places = [place_of(kit, near, "spot", give_up_s=600.0), place_of(kit, far, "local")]
    agent = kit.agent(near, places=places)
    agent.tick()
    kit.advance(590)
    agent.tick()
    assert near.stops == []
    kit.advance(11)
    agent.tick()
    assert [name for name, _ in near.stops] == near.submitted
    agent.run()
    (trial,) = kit.trials()
    assert (trial.state.value, trial.attempt, trial.place_name, trial.retries) == ("finished", 1, "local", {})


def test_running_job_never_moves(tmp_path: Path) -> None:
    kit = Kit(tmp_path, {**SIX, "run_cap": 1})
    near, far, _ = two_places(kit)
    places = [place_of(kit, near, "spot", give_up_s=600.0), place_of(kit, far, "local")]
    agent = kit.agent(near, places=places)
    agent.tick()
    kit.advance(5_000)
    agent.tick()
    assert near.stops == []


def test_alternatives_of_a_place_share_its_slots(tmp_path: Path) -> None:
    kit = Kit(tmp_path, SIX)
    backend = ScriptedBackend(never_ends, "sagemaker@there")
    places = [place_of(kit, backend, name, 2, group="cloud") for name in ("cloud", "cloud/2", "cloud/3")]
    kit.agent(backend, places=places).tick()
    assert names(kit) == ["cloud", "cloud"]


def test_full_place_moves_a_refused_trial_to_its_alternative(tmp_path: Path) -> None:
    kit = Kit(tmp_path, SIX)
    near, far = Refusing(CapacityError("none"), "sagemaker@east"), ScriptedBackend(never_ends, "sagemaker@west")
    places = [place_of(kit, near, "cloud", 2, group="cloud"), place_of(kit, far, "cloud/2", 2, group="cloud")]
    kit.agent(near, places=places).tick()
    assert names(kit) == ["cloud/2", "cloud/2"]


def test_silent_backend_does_not_stop_other_places(tmp_path: Path) -> None:
    kit = Kit(tmp_path, SIX)

    class Silent(ScriptedBackend):
        is_silent = False

        def describe(self, names: Collection[str]) -> dict[str, JobStatus]:
            if self.is_silent:
                raise BackendUnavailable("no response")
            return super().describe(names)

    near, far = ScriptedBackend(ends, "process@here"), Silent(ends, "sagemaker@there")
    agent = kit.agent(near, places=[place_of(kit, near, "local"), place_of(kit, far, "cloud")])
    agent.tick()
    far.is_silent = True
    for _ in range(20):
        agent.tick()
    assert kit.states().count("finished") == 5
    far.is_silent = False
    agent.run()
    assert kit.states() == ["finished"] * 6


def with_checkpoints(folder: Path) -> Any:
    def uri(trial: Trial) -> str:
        return (folder / str(trial.number)).as_uri()

    return uri


@pytest.mark.parametrize("has_checkpoint", [True, False])
def test_interrupted_trial_waits_for_the_place_of_its_checkpoints(tmp_path: Path, has_checkpoint: bool) -> None:
    kit = Kit(tmp_path, {**SIX, "run_cap": 1})
    near = ScriptedBackend(never_ends, "process@here")
    agent = kit.agent(near, places=[place_of(kit, near, "local", checkpoints=with_checkpoints(tmp_path))])
    agent.tick()
    if has_checkpoint:
        (tmp_path / "0").mkdir()
        (tmp_path / "0" / "epoch").touch()
    agent.leave(ShutdownLevel.STOP, machine_goes=True)
    agent.run()
    (trial,) = kit.trials()
    assert (trial.state.value, trial.place) == ("pending", "process@here" if has_checkpoint else "")
    far = ScriptedBackend(ends, "sagemaker@there")
    heir = kit.agent(far, agent_id="b", places=[place_of(kit, far, "cloud", checkpoints=lambda trial: "s3://b/c")])
    heir.run()
    assert len(far.submitted) == (not has_checkpoint)
    back = ScriptedBackend(ends, "process@here")
    kit.agent(back, agent_id="c", places=[place_of(kit, back, "local")]).run()
    assert kit.states() == ["finished"]
    assert kit.store.get_sweep(kit.sweep.id).state == "finished"


def test_interrupted_trial_continues_at_a_place_that_reads_the_same_folder(tmp_path: Path) -> None:
    kit = Kit(tmp_path, {**SIX, "run_cap": 1})
    near = ScriptedBackend(never_ends, "process@node1")
    agent = kit.agent(near, places=[place_of(kit, near, "", checkpoints=with_checkpoints(tmp_path))])
    agent.tick()
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "epoch").touch()
    agent.leave(ShutdownLevel.STOP, machine_goes=True)
    agent.run()
    far = ScriptedBackend(ends, "process@node2")
    kit.agent(far, agent_id="b", places=[place_of(kit, far, "", checkpoints=with_checkpoints(tmp_path))]).run()
    assert kit.states() == ["finished"]


def test_interrupted_trial_with_checkpoints_in_s3_continues_where_jobs_read_s3(tmp_path: Path) -> None:
    kit = Kit(tmp_path, {**SIX, "run_cap": 1})
    near = ScriptedBackend(lambda trial: Plot(pages=[[logged(0, loss=1.0)]], ends=False), "sagemaker@there")
    shared: dict[str, Any] = {
        "checkpoints": lambda trial: "s3://b/c",
        "reads_s3": True,
        "shares_checkpoints": True,
    }
    agent = kit.agent(near, places=[place_of(kit, near, "cloud", **shared)])
    agent.tick()
    agent.tick()
    agent.leave(ShutdownLevel.STOP, machine_goes=True)
    agent.run()
    assert kit.states() == ["pending"]
    local = ScriptedBackend(ends, "process@here")
    kit.agent(local, places=[place_of(kit, local, "local", checkpoints=lambda trial: "s3://b/c")]).run()
    assert local.submitted == []
    far = ScriptedBackend(ends, "docker@here")
    kit.agent(far, agent_id="b", places=[place_of(kit, far, "docker", **shared)]).run()
    assert kit.states() == ["finished"]


def test_agent_adopts_only_trials_of_its_places(tmp_path: Path) -> None:
    kit = Kit(tmp_path, SIX)
    near, far, places = two_places(kit)
    kit.agent(near, places=places).tick()  # and the agent is killed
    kit.advance(61)
    heir = kit.agent(far, agent_id="b", places=[place_of(kit, far, "cloud", 3)])
    heir.tick()
    by_number = {trial.number: trial for trial in kit.trials()}
    assert (by_number[0].agent_id, by_number[1].agent_id) == ("a", "b")
    assert far.submitted.count(by_number[1].job_name) == 1


def test_trial_of_an_unreachable_place_runs_again_after_a_while(tmp_path: Path) -> None:
    kit = Kit(tmp_path, {**SIX, "run_cap": 1})
    near, far, places = two_places(kit)
    kit.agent(near, places=places).tick()
    kit.advance(61 + LOST_S)
    far.jobs.clear()
    heir = kit.agent(far, agent_id="b", places=[place_of(kit, far, "cloud")])
    for _ in range(3):
        heir.tick()
    (trial,) = kit.trials()
    assert (trial.attempt, trial.place_name, trial.retries) == (1, "cloud", {"crashed": 1})


def test_agent_with_another_list_adopts_jobs_of_the_same_backend(tmp_path: Path) -> None:
    kit = Kit(tmp_path, {**SIX, "run_cap": 1})
    far = ScriptedBackend(ends, "sagemaker@there")
    kit.agent(far, places=[place_of(kit, far, "sagemaker:spot")]).tick()
    kit.advance(61)
    kit.agent(far, agent_id="b", places=[place_of(kit, far, "sagemaker")]).run()
    assert kit.states() == ["finished"]
    assert len(far.submitted) == 1


def test_budget_counts_each_place_at_its_price(tmp_path: Path) -> None:
    kit = Kit(tmp_path, SIX)
    near, _, places = two_places(kit, (2, 4), price=Price(per_hour=1.0))
    budget = Budget(what="usd", cap=2.5, worst=1.0, worst_at={"local": 0.0, "cloud": 1.0})
    kit.agent(near, places=places, budgets=[budget]).tick()
    assert names(kit)[:4] == ["local", "local", "cloud", "cloud"]
    assert kit.states().count("running") == 4


def test_free_place_continues_after_the_budget_is_spent(tmp_path: Path) -> None:
    kit = Kit(tmp_path, SIX)
    near, far = ScriptedBackend(ends, "process@here"), ScriptedBackend(ends, "sagemaker@there")
    places = [place_of(kit, near, "local"), place_of(kit, far, "cloud", 4)]
    budget = Budget(what="usd", cap=0.5, worst=1.0, worst_at={"local": 0.0, "cloud": 1.0})
    kit.agent(near, places=places, budgets=[budget]).run()
    assert (kit.states(), set(names(kit))) == (["finished"] * 6, {"local"})


def test_placement_names_the_budget_that_does_not_cover_an_earlier_place(tmp_path: Path) -> None:
    kit = Kit(tmp_path, SIX)
    near, _, places = two_places(kit)
    budget = Budget(what="usd", cap=0.5, worst=1.0, worst_at={"local": 1.0, "cloud": 0.0})
    kit.agent(near, places=places, budgets=[budget]).tick()
    (trial,) = [trial for trial in kit.trials() if trial.place_name == "cloud"]
    assert because(kit, trial) == ["the budget covers no further trial at local"]


def test_trial_does_not_move_to_a_place_that_the_budget_does_not_cover(tmp_path: Path) -> None:
    kit = Kit(tmp_path, {**SIX, "run_cap": 1})
    near, far = Refusing(CapacityError("none"), "process@here"), ScriptedBackend(ends, "sagemaker@there")
    places = [place_of(kit, near, "local"), place_of(kit, far, "cloud")]
    budget = Budget(what="usd", cap=0.5, worst=1.0, worst_at={"local": 0.0, "cloud": 1.0})
    kit.agent(near, places=places, budgets=[budget]).tick()
    assert (names(kit), far.submitted) == (["local"], [])


def test_place_that_recovers_is_used_again(tmp_path: Path) -> None:
    kit = Kit(tmp_path, SIX)
    near, far, _ = two_places(kit)
    near.refusals = [CapacityError("none")]
    agent = kit.agent(near, places=[place_of(kit, near, "spot"), place_of(kit, far, "local")])
    agent.tick()
    assert names(kit) == ["local"]
    kit.clock_now += timedelta(seconds=LONG_REST_S)
    agent.tick()
    assert names(kit) == ["local", "spot"]


def test_running_job_does_not_end_the_rest_of_its_place(tmp_path: Path) -> None:
    kit = Kit(tmp_path, SIX)
    near, far, places = two_places(kit, (2, 1))
    n_asked = []

    def submit(request: TrainingJobRequest) -> None:
        n_asked.append(request["TrainingJobName"])
        if near.jobs:
            raise CapacityError("none")
        ScriptedBackend.submit(near, request)

    near.submit = submit  # type: ignore[method-assign]  # refuses the second job
    agent = kit.agent(near, places=places)
    for _ in range(5):
        agent.tick()
    assert len(n_asked) == 2
    assert names(kit) == ["local", "cloud"]
    assert len(far.submitted) == 1


def test_ended_job_ends_the_rest_of_its_place(tmp_path: Path) -> None:
    """Its machine, or its part of the quota, is available again."""
    kit = Kit(tmp_path, SIX)
    near, far, places = two_places(kit, (2, 1))
    near.refusals = []
    agent = kit.agent(near, places=places)
    agent._places.rest(places[0], QuotaExceeded("limit of 1"))
    agent.tick()
    assert names(kit) == ["cloud"]
    far.jobs[far.submitted[0]].stopped = True
    agent._places.rest(places[1], QuotaExceeded("limit of 1"))
    agent.tick()
    assert names(kit)[1:] == ["cloud"]


def test_place_whose_devices_are_in_use_has_short_rests(tmp_path: Path) -> None:
    """A device of this machine can be free at any time, and each try keeps the trial's turn."""
    kit = Kit(tmp_path, SIX)
    places = two_places(kit)[2]
    rests = Places(places, lambda: kit.clock_now, random.Random(0))
    for _ in range(5):
        rests.rest(places[0], DevicesInUse("in use"))
        kit.clock_now += timedelta(seconds=LONG_REST_S)
        assert not rests.is_resting(places[0])
