"""Contract of all stores for trials: claims, leases, state transitions, and changes since a revision."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from smsweep.core.sweep import SweepState
from smsweep.core.trial import MOVES, History, MetricPoint, Trial, TrialState
from smsweep.errors import StoreConflict
from smsweep.store.base import Store
from tests.support.clock import FakeClock
from tests.support.sweeps import a_sweep

SWEEP = "abcd1234"
PENDING, RUNNING, STOPPING = TrialState.PENDING, TrialState.RUNNING, TrialState.STOPPING
FINISHED, CRASHED, STOPPED, KILLED = (
    TrialState.FINISHED,
    TrialState.CRASHED,
    TrialState.STOPPED,
    TrialState.KILLED,
)


def add(store: Store, n: int = 1, first: int = 0, sweep_id: str = SWEEP) -> list[Trial]:
    return store.add_trials(sweep_id, first, [{"lr": 0.1 * (first + i)} for i in range(n)])


def claim(store: Store, agent_id: str = "ann", lease_s: float = 60, sweep_id: str = SWEEP) -> Trial:
    trial = store.claim(sweep_id, agent_id, "process@here", lease_s)
    assert trial is not None
    return trial


def claim_nothing(store: Store, agent_id: str = "bob") -> bool:
    return store.claim(SWEEP, agent_id, "process@there", 60) is None


def reach(store: Store, state: TrialState, sweep_id: str = SWEEP) -> Trial:
    """Create trial 0 in a sweep without trials, and move the trial to a state."""
    trial = add(store, sweep_id=sweep_id)[0]
    if state is PENDING:
        return trial
    trial = claim(store, sweep_id=sweep_id)
    return trial if state is RUNNING else store.move(sweep_id, 0, [RUNNING], state, agent_id="ann")


def test_added_trials_are_pending_and_read_as_written(sweep: Store, clock: FakeClock) -> None:
    params = {"lr": 1e-300, "n": 2**70, "optimizer": {"name": "sgd", "nesterov": True}, "x": [1, None, "ä"]}
    (trial,) = sweep.add_trials(SWEEP, 0, [params])
    assert (trial.state, trial.params, trial.created_at) == (PENDING, params, clock.now)
    assert sweep.get_trial(SWEEP, 0) == trial
    assert sweep.list_trials(SWEEP) == [trial]


def test_added_repeats_have_the_number_of_their_trial(sweep: Store) -> None:
    add(sweep, 2)
    params = [{"lr": 0.1}, {"lr": 0.0}]
    added = sweep.add_trials(SWEEP, 2, params, repeats=[(1, 1), (0, 3)])
    assert [(trial.confirms, trial.repeat) for trial in added] == [(1, 1), (0, 3)]
    assert [sweep.get_trial(SWEEP, number) for number in (2, 3)] == added
    assert [(trial.confirms, trial.repeat) for trial in sweep.list_trials(SWEEP)][:2] == [(None, 0)] * 2


def test_adding_empty_list_adds_no_trial(sweep: Store) -> None:
    assert sweep.add_trials(SWEEP, 0, []) == []
    assert sweep.list_trials(SWEEP) == []


@pytest.mark.parametrize("first", [0, 1, 3])
def test_trials_are_added_only_at_the_next_number(sweep: Store, first: int) -> None:
    add(sweep, 2)
    with pytest.raises(StoreConflict, match=f"{SWEEP}/{first} is not the next"):
        add(sweep, 2, first=first)
    assert len(sweep.list_trials(SWEEP)) == 2


@pytest.mark.parametrize("state", [s for s in SweepState if s is not SweepState.RUNNING])
def test_sweep_that_is_not_running_accepts_no_trials(sweep: Store, state: SweepState) -> None:
    sweep.set_sweep_state(SWEEP, [SweepState.RUNNING], state)
    with pytest.raises(StoreConflict, match=state.value):
        add(sweep)


def test_claimed_trial_belongs_to_its_agent(sweep: Store, clock: FakeClock) -> None:
    add(sweep, 2)
    trial = claim(sweep, "ann", lease_s=60)
    assert trial.number == 0
    assert trial.state is RUNNING
    assert trial.job_name == f"smsweep-{SWEEP}-0-0"
    assert (trial.agent_id, trial.place) == ("ann", "process@here")
    assert trial.started_at == clock.now
    assert trial.lease_expires_at == clock.now + timedelta(seconds=60)
    assert sweep.get_trial(SWEEP, 0) == trial


def test_place_with_invalid_text_is_stored_with_replacements(sweep: Store) -> None:
    add(sweep)
    taken = sweep.claim(SWEEP, "ann", "process@caf\udce9\0", 60)
    assert taken is not None
    assert taken.place == "process@caf?\N{REPLACEMENT CHARACTER}"
    assert sweep.get_trial(SWEEP, 0) == taken


def test_pending_trials_are_claimed_oldest_first_then_none(sweep: Store) -> None:
    add(sweep, 3)
    assert [claim(sweep).number for _ in range(3)] == [0, 1, 2]
    assert claim_nothing(sweep)


@pytest.mark.parametrize("state", [s for s in SweepState if s is not SweepState.RUNNING])
def test_pending_trials_are_not_claimed_while_sweep_is_not_running(sweep: Store, state: SweepState) -> None:
    add(sweep)
    sweep.set_sweep_state(SWEEP, [SweepState.RUNNING], state)
    assert claim_nothing(sweep)


@pytest.mark.parametrize("active", [RUNNING, STOPPING])
@pytest.mark.parametrize("state", SweepState)
def test_takeover_of_expired_lease_changes_only_the_lease(
    sweep: Store, clock: FakeClock, state: SweepState, active: TrialState
) -> None:
    before = reach(sweep, active)
    sweep.set_sweep_state(SWEEP, [SweepState.RUNNING], state)
    clock.advance(59.999)
    assert claim_nothing(sweep)
    clock.advance(0.001)
    taken = claim(sweep, "bob", lease_s=30)
    assert taken == replace(
        before,
        agent_id="bob",
        lease_expires_at=clock.now + timedelta(seconds=30),
        revision=taken.revision,
    )
    assert claim_nothing(sweep, "ann")


def test_abandoned_trial_is_claimed_before_pending_trial(sweep: Store, clock: FakeClock) -> None:
    add(sweep, 2)
    claim(sweep)
    clock.advance(61)
    assert [claim(sweep, "bob").number, claim(sweep, "bob").number] == [0, 1]


def test_claim_of_abandoned_trials_only_returns_no_pending_trial(sweep: Store, clock: FakeClock) -> None:
    add(sweep, 2)
    claim(sweep)
    assert sweep.claim(SWEEP, "bob", "process@here", 60, abandoned_only=True) is None
    clock.advance(61)
    taken = sweep.claim(SWEEP, "bob", "process@here", 60, abandoned_only=True)
    assert taken is not None
    assert taken.number == 0


def test_trial_moved_to_running_without_agent_can_be_claimed(sweep: Store) -> None:
    add(sweep)
    sweep.move(SWEEP, 0, [PENDING], RUNNING)
    taken = claim(sweep, "bob")
    assert (taken.number, taken.attempt, taken.job_name) == (0, 0, f"smsweep-{SWEEP}-0-0")


def test_renewed_leases_do_not_expire(sweep: Store, clock: FakeClock) -> None:
    add(sweep, 3)
    claim(sweep, "ann"), claim(sweep, "bob"), claim(sweep, "ann")
    clock.advance(59)
    assert sweep.renew("ann", 60) == {(SWEEP, 0), (SWEEP, 2)}
    clock.advance(59)
    assert claim(sweep, "carl").number == 1
    assert claim_nothing(sweep, "carl")


def test_renew_omits_trials_of_other_agents(sweep: Store, clock: FakeClock) -> None:
    reach(sweep, RUNNING)
    clock.advance(61)
    claim(sweep, "bob")
    assert sweep.renew("ann", 60) == set()


def test_late_lease_renewal_succeeds_without_takeover(sweep: Store, clock: FakeClock) -> None:
    reach(sweep, RUNNING)
    clock.advance(3600)
    assert sweep.renew("ann", 60) == {(SWEEP, 0)}
    assert claim_nothing(sweep)


def test_released_trials_can_be_claimed_at_once(sweep: Store) -> None:
    reach(sweep, RUNNING)
    sweep.release("ann")
    assert claim(sweep, "bob").number == 0


def test_holders_are_the_agents_of_active_trials(sweep: Store) -> None:
    add(sweep, 4)
    claim(sweep, "ann"), claim(sweep, "ann"), claim(sweep, "bob"), claim(sweep, "carl")
    sweep.move(SWEEP, 2, [RUNNING], STOPPING)
    sweep.move(SWEEP, 3, [RUNNING], FINISHED)
    assert sweep.holders(SWEEP) == {"ann", "bob"}


@pytest.mark.parametrize("origin", TrialState)
def test_only_legal_transitions_succeed(store: Store, origin: TrialState) -> None:
    assert {to for to in TrialState if moves(store, origin, to)} == MOVES[origin]


def moves(store: Store, origin: TrialState, to: TrialState) -> bool:
    store.create_sweep(a_sweep(to.value))
    before = reach(store, origin, to.value)
    try:
        store.move(to.value, 0, [origin], to)
    except ValueError as err:
        assert f"never moves from {origin.value} to {to.value}" in str(err)
    after = store.get_trial(to.value, 0)
    assert after.state is to or after == before
    return after != before


def test_ended_trial_has_no_lease(sweep: Store, clock: FakeClock) -> None:
    before = reach(sweep, RUNNING)
    clock.advance(5)
    ended = sweep.move(SWEEP, 0, [RUNNING], TrialState.FAILED, reason="exit code 3", exit_code=3, agent_id="ann")
    assert ended == replace(
        before,
        state=TrialState.FAILED,
        reason="exit code 3",
        exit_code=3,
        agent_id="",
        lease_expires_at=None,
        ended_at=clock.now,
        revision=ended.revision,
    )
    assert sweep.get_trial(SWEEP, 0) == ended
    assert sweep.renew("ann", 60) == set()


def test_end_time_is_when_trial_ended_not_when_agent_read_it(sweep: Store, clock: FakeClock) -> None:
    before = reach(sweep, RUNNING)
    assert before.started_at is not None
    clock.advance(-86_400)  # the clock was set back
    ended = sweep.move(SWEEP, 0, [RUNNING], TrialState.FINISHED, lasted_s=7.5)
    assert ended.ended_at == before.started_at + timedelta(seconds=7.5)
    assert sweep.get_trial(SWEEP, 0) == ended


def test_stop_reason_is_kept_until_next_attempt(sweep: Store) -> None:
    reach(sweep, RUNNING)
    stopping = sweep.move(SWEEP, 0, [RUNNING], STOPPING, reason="band 1", asked_by="rule")
    assert (stopping.asked_by, stopping.agent_id) == ("rule", "ann")
    assert sweep.move(SWEEP, 0, [STOPPING], STOPPED).asked_by == "rule"
    assert sweep.move(SWEEP, 0, [STOPPED], PENDING).asked_by == ""


def test_retried_trial_is_pending_as_new_attempt(sweep: Store) -> None:
    reach(sweep, RUNNING)
    sweep.append_points(SWEEP, 0, [], "line 7", expect_cursor="")
    sweep.move(SWEEP, 0, [RUNNING], CRASHED, reason="lost", exit_code=137)
    retried = sweep.move(SWEEP, 0, [CRASHED], PENDING, reason="again")
    assert retried == Trial(
        sweep_id=SWEEP,
        number=0,
        params={"lr": 0.0},
        attempt=1,
        reason="again",
        created_at=retried.created_at,
        revision=retried.revision,
    )
    again = claim(sweep, "bob")
    assert (again.job_name, again.attempt, again.reason) == (f"smsweep-{SWEEP}-0-1", 1, "")


def test_transition_from_unexpected_state_raises_conflict(sweep: Store) -> None:
    before = reach(sweep, FINISHED)
    with pytest.raises(StoreConflict, match="is finished, not running or stopping"):
        sweep.move(SWEEP, 0, [RUNNING, STOPPING], KILLED)
    assert sweep.get_trial(SWEEP, 0) == before


def test_agent_without_lease_changes_no_state(sweep: Store, clock: FakeClock) -> None:
    reach(sweep, RUNNING)
    clock.advance(61)
    taken = claim(sweep, "bob")
    with pytest.raises(StoreConflict, match="held by agent bob"):
        sweep.move(SWEEP, 0, [RUNNING], FINISHED, agent_id="ann")
    assert sweep.get_trial(SWEEP, 0) == taken


def test_counts_are_per_state_without_removed_trials(sweep: Store) -> None:
    add(sweep, 4)
    claim(sweep)
    sweep.remove_trial(SWEEP, 3)
    assert sweep.count_trials(SWEEP) == {RUNNING: 1, PENDING: 2}


def test_empty_sweep_has_zero_counts(sweep: Store) -> None:
    assert sweep.count_trials(SWEEP) == {}


def test_removed_trial_is_not_listed_but_is_in_changes(sweep: Store) -> None:
    added = add(sweep, 2)
    removed = sweep.remove_trial(SWEEP, 0)
    assert removed.is_removed
    assert sweep.list_trials(SWEEP) == [added[1]]
    assert sweep.list_trials(SWEEP, since=added[1].revision) == [removed]
    assert claim(sweep).number == 1
    assert sweep.remove_trial(SWEEP, 0) == removed


def test_number_of_removed_trial_is_not_reused(sweep: Store) -> None:
    add(sweep, 2)
    sweep.remove_trial(SWEEP, 1)
    with pytest.raises(StoreConflict):
        add(sweep, first=1)
    assert add(sweep, first=2)[0].number == 2


def test_active_trial_cannot_be_removed(sweep: Store) -> None:
    reach(sweep, RUNNING)
    with pytest.raises(StoreConflict, match="running"):
        sweep.remove_trial(SWEEP, 0)


def test_removed_trial_is_not_proposed_again(sweep: Store) -> None:
    reach(sweep, CRASHED)
    sweep.remove_trial(SWEEP, 0)
    with pytest.raises(StoreConflict, match="removed"):
        sweep.move(SWEEP, 0, [CRASHED], PENDING)


def test_unsupported_text_is_replaced(sweep: Store) -> None:
    reach(sweep, RUNNING)
    assert sweep.move(SWEEP, 0, [RUNNING], CRASHED, reason="a\0b\ud800c\nd").reason == "a\ufffdb?c\nd"


# Changes


def test_changes_since_revision_include_every_change(sweep: Store, clock: FakeClock) -> None:
    """After each random operation, a reader of changes has the same data as a reader of the complete sweep."""
    rng = random.Random(7)
    seen, cursor, revisions = History(), 0, []
    for _ in range(120):
        _do_something(sweep, clock, rng)
        changes = sweep.list_trials(SWEEP, since=cursor, curve_of="loss")
        assert [t.revision for t in changes] == sorted({t.revision for t in changes})
        seen.update(changes)
        cursor = max([cursor, *(t.revision for t in changes)])
        revisions.append(cursor)
        everything = sorted(sweep.list_trials(SWEEP, curve_of="loss"), key=lambda t: t.number)
        assert list(seen) == everything
        assert cursor <= sweep.get_sweep(SWEEP).revision
    assert revisions == sorted(revisions)
    assert revisions[-1] > 100


def _do_something(store: Store, clock: FakeClock, rng: random.Random) -> None:
    clock.advance(rng.choice([0, 1, 40]))
    trials = store.list_trials(SWEEP)
    trial = rng.choice(trials) if trials else None
    what = rng.choice(["add", "claim", "claim", "points", "points", "move", "move", "remove"])
    if what == "add" or trial is None:
        first = max([t.number for t in store.list_trials(SWEEP, since=1)], default=-1) + 1
        store.add_trials(SWEEP, first, [{"x": rng.random()} for _ in range(rng.randint(1, 3))])
    elif what == "claim":
        store.claim(SWEEP, rng.choice("ab"), "here", 60)
    elif what == "points":
        point = MetricPoint(name="loss", value=rng.random(), step=trial.n_points, time=clock.now)
        store.append_points(SWEEP, trial.number, [point], trial.cursor + "x", expect_cursor=trial.cursor)
    elif what == "remove" and not trial.state.is_active:
        store.remove_trial(SWEEP, trial.number)
    elif MOVES[trial.state]:
        to = rng.choice(sorted(MOVES[trial.state]))
        store.move(SWEEP, trial.number, [trial.state], to, reason="chance")


def test_sweep_revision_includes_its_trials(sweep: Store) -> None:
    trials = add(sweep, 3)
    assert sweep.get_sweep(SWEEP).revision == trials[-1].revision
    assert [t.revision for t in trials] == sorted({t.revision for t in trials})


def test_lease_renewal_is_not_a_change(sweep: Store) -> None:
    trial = reach(sweep, RUNNING)
    sweep.renew("ann", 600)
    assert sweep.list_trials(SWEEP, since=trial.revision) == []


def test_set_place_moves_a_held_trial(sweep: Store) -> None:
    sweep.add_trials(SWEEP, 0, [{"x": 1}])
    claimed = sweep.claim(SWEEP, "ann", "sagemaker@there", 60, place_name="sagemaker:spot")
    assert claimed is not None
    assert (claimed.place, claimed.place_name) == ("sagemaker@there", "sagemaker:spot")
    moved = sweep.set_place(SWEEP, 0, "ann", "process@here", "local")
    assert (moved.place, moved.place_name, moved.job_name) == ("process@here", "local", claimed.job_name)
    assert sweep.get_trial(SWEEP, 0) == moved
    with pytest.raises(StoreConflict, match="held by agent ann"):
        sweep.set_place(SWEEP, 0, "bob", "docker@here")
    sweep.move(SWEEP, 0, [TrialState.RUNNING], TrialState.STOPPING)
    with pytest.raises(StoreConflict, match="stopping, not running"):
        sweep.set_place(SWEEP, 0, "ann", "docker@here")


def test_pending_trial_waits_for_the_place_of_its_checkpoints(sweep: Store) -> None:
    sweep.add_trials(SWEEP, 0, [{"x": 1}])
    sweep.claim(SWEEP, "ann", "process@here", 60, place_name="local")
    sweep.move(SWEEP, 0, [TrialState.RUNNING], TrialState.PENDING, keeps_place=True)
    assert sweep.claim(SWEEP, "bob", "docker@here", 60) is None
    assert sweep.claim(SWEEP, "bob", "docker@here", 60, continues=[7]) is None
    continued = sweep.claim(SWEEP, "bob", "docker@here", 60, continues=[7, 0])
    assert continued is not None
    assert (continued.place, continued.place_name, continued.attempt) == ("docker@here", "", 1)
    released = sweep.move(SWEEP, 0, [TrialState.RUNNING], TrialState.PENDING)
    assert (released.place, released.place_name) == ("", "")
    assert sweep.claim(SWEEP, "eve", "sagemaker@there", 60) is not None


def test_agent_adopts_only_the_abandoned_trials_that_it_can_reach(sweep: Store) -> None:
    sweep.add_trials(SWEEP, 0, [{"x": 1}, {"x": 2}])
    sweep.claim(SWEEP, "ann", "process@here", 0)
    sweep.claim(SWEEP, "ann", "sagemaker@there", 0)
    adopted = sweep.claim(SWEEP, "bob", "sagemaker@there", 60, adopts=lambda trial, _: trial.place[0] == "s")
    assert adopted is not None
    assert (adopted.number, adopted.place) == (1, "sagemaker@there")
    assert sweep.claim(SWEEP, "bob", "sagemaker@there", 60, adopts=lambda _, expired_s: expired_s > 60) is None
