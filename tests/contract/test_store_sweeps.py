"""Contract of all stores for sweeps and notes, and for unknown ids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from smsweep.core.agent_record import AgentRecord
from smsweep.core.sweep import Sweep, SweepState
from smsweep.core.trial import MetricPoint, TrialState
from smsweep.errors import NotFound, StoreConflict
from smsweep.store.base import Store
from tests.support.clock import FakeClock
from tests.support.sweeps import CONFIG, a_sweep

SWEEP = "abcd1234"


def test_sweep_is_read_as_created(store: Store, open_another: Callable[[], Store]) -> None:
    sweep = replace(
        a_sweep(),
        seed=2**100 + 1,
        name="näme",
        project="p",
        entity="e",
        job_yaml="role: x\n",
        source_hash="sha",
        prior_runs=("old/1", "old/2"),
    )
    created = store.create_sweep(sweep)
    assert open_another().get_sweep(SWEEP) == created
    assert created == replace(sweep, created_at=created.created_at, revision=created.revision)


def test_labels_with_invalid_text_are_stored_with_replacements(store: Store) -> None:
    store.create_sweep(replace(a_sweep(), name="caf\udce9", project="\ud800", entity="a\0b"))
    stored = store.get_sweep(SWEEP)
    assert (stored.name, stored.project, stored.entity) == ("caf?", "?", "a\N{REPLACEMENT CHARACTER}b")


def test_sweep_creation_time_is_utc(store: Store, clock: FakeClock) -> None:
    store.create_sweep(a_sweep())
    created_at = store.get_sweep(SWEEP).created_at
    assert created_at == clock.now
    assert created_at is not None
    assert created_at.utcoffset() == timedelta(0)


def test_sweep_id_is_unique(sweep: Store) -> None:
    with pytest.raises(StoreConflict, match=SWEEP):
        sweep.create_sweep(a_sweep())


def test_sweeps_are_listed_newest_first(store: Store, clock: FakeClock) -> None:
    for name in ("first", "second", "third"):
        store.create_sweep(a_sweep(name))
        clock.advance(1)
    assert [s.id for s in store.list_sweeps()] == ["third", "second", "first"]


def test_sweep_state_changes_from_expected_state(sweep: Store) -> None:
    before = sweep.get_sweep(SWEEP)
    paused = sweep.set_sweep_state(SWEEP, [SweepState.RUNNING, SweepState.PAUSED], SweepState.PAUSED)
    assert paused.state is SweepState.PAUSED
    assert paused.revision > before.revision
    assert sweep.get_sweep(SWEEP) == paused


def test_sweep_in_other_state_raises_conflict(sweep: Store) -> None:
    with pytest.raises(StoreConflict, match="running, not paused"):
        sweep.set_sweep_state(SWEEP, [SweepState.PAUSED], SweepState.STOPPED)


def test_sweep_state_changes_only_at_expected_revision(sweep: Store) -> None:
    revision = sweep.get_sweep(SWEEP).revision
    sweep.add_trials(SWEEP, 0, [{"x": 1}])
    with pytest.raises(StoreConflict, match=f"changed after revision {revision}"):
        sweep.set_sweep_state(SWEEP, [SweepState.RUNNING], SweepState.FINISHED, revision=revision)
    revision = sweep.get_sweep(SWEEP).revision
    finished = sweep.set_sweep_state(SWEEP, [SweepState.RUNNING], SweepState.FINISHED, revision=revision)
    assert finished.state is SweepState.FINISHED


@pytest.mark.parametrize(
    "ask",
    [
        lambda s: s.get_sweep("missing"),
        lambda s: s.set_sweep_state("missing", [SweepState.RUNNING], SweepState.PAUSED),
        lambda s: s.add_trials("missing", 0, [{}]),
        lambda s: s.list_trials("missing"),
        lambda s: s.list_trials("missing", since=3),
        lambda s: s.get_trial("missing", 0),
        lambda s: s.count_trials("missing"),
        lambda s: s.claim("missing", "ann", "here", 60),
        lambda s: s.holders("missing"),
        lambda s: s.move("missing", 0, [TrialState.RUNNING], TrialState.FINISHED),
        lambda s: s.append_points("missing", 0, [], "x", expect_cursor=""),
        lambda s: s.read_points("missing", 0),
        lambda s: s.remove_trial("missing", 0),
        lambda s: s.remove_sweep("missing"),
        lambda s: s.put_note("missing", "k", 1),
        lambda s: s.add_note("missing", "k", 1),
        lambda s: s.get_note("missing", "k"),
        lambda s: s.get_trial(SWEEP, 7),
        lambda s: s.move(SWEEP, 7, [TrialState.RUNNING], TrialState.FINISHED),
        lambda s: s.append_points(SWEEP, 7, [], "x", expect_cursor=""),
        lambda s: s.read_points(SWEEP, 7),
        lambda s: s.remove_trial(SWEEP, 7),
    ],
)
def test_unknown_ids_raise_not_found(sweep: Store, ask: Callable[[Store], object]) -> None:
    with pytest.raises(NotFound):
        ask(sweep)


def test_removed_sweep_is_deleted_with_its_data(sweep: Store, clock: FakeClock) -> None:
    sweep.add_trials(SWEEP, 0, [{}])
    sweep.append_points(SWEEP, 0, [MetricPoint(name="loss", value=1.0, time=clock.now)], "x", expect_cursor="")
    sweep.put_note(SWEEP, "source", {"at": "here"})
    sweep.remove_sweep(SWEEP)
    assert sweep.list_sweeps() == []
    sweep.create_sweep(a_sweep())
    assert sweep.list_trials(SWEEP) == []
    assert sweep.get_note(SWEEP, "source") is None
    assert sweep.add_trials(SWEEP, 0, [{}])[0].number == 0
    assert sweep.read_points(SWEEP, 0) == []


def test_sweep_with_active_trial_cannot_be_removed(sweep: Store) -> None:
    sweep.add_trials(SWEEP, 0, [{}])
    sweep.claim(SWEEP, "ann", "here", 60)
    with pytest.raises(StoreConflict, match="active"):
        sweep.remove_sweep(SWEEP)


def test_note_is_kept_until_overwritten(sweep: Store) -> None:
    sweep.put_note(SWEEP, "seen", [1, None, {"a": "b"}])
    assert sweep.get_note(SWEEP, "seen") == [1, None, {"a": "b"}]
    sweep.put_note(SWEEP, "seen", False)
    assert sweep.get_note(SWEEP, "seen") is False


def test_note_is_added_once(sweep: Store) -> None:
    assert sweep.add_note(SWEEP, "told", 1)
    assert not sweep.add_note(SWEEP, "told", 2)
    assert sweep.get_note(SWEEP, "told") == 1


def test_missing_note_is_none(sweep: Store) -> None:
    assert sweep.get_note(SWEEP, "seen") is None


def test_config_is_parsed_by_specified_function(sweep: Store) -> None:
    assert sweep.get_sweep(SWEEP).config is CONFIG


def change(store: Store, number: int = 2, **changes: object) -> Sweep:
    return store.change_config(
        SWEEP, number, sweep_yaml=f"run_cap: {number}", job_yaml="", changes=changes, changed_by="ann@host"
    )


def test_changed_config_is_the_next_revision(sweep: Store, open_another: Callable[[], Store]) -> None:
    before = sweep.get_sweep(SWEEP)
    changed = change(sweep, run_cap=2)
    assert (changed.config_revision, changed.sweep_yaml) == (2, "run_cap: 2")
    assert changed.revision == before.revision + 1
    assert open_another().get_sweep(SWEEP) == changed


def test_unchanged_sweep_has_one_revision(sweep: Store) -> None:
    stored = sweep.get_sweep(SWEEP)
    (first,) = sweep.list_revisions(SWEEP)
    assert (first.number, first.sweep_yaml, first.changes) == (1, stored.sweep_yaml, {})
    assert (first.changed_by, first.changed_at, first.first_number) == ("", stored.created_at, 0)


def test_revisions_record_who_changed_what_when(sweep: Store, clock: FakeClock) -> None:
    sweep.add_trials(SWEEP, 0, [{"lr": 1}, {"lr": 2}])
    clock.advance(60)
    change(sweep, run_cap=2, early_terminate=None)
    first, second = sweep.list_revisions(SWEEP)
    assert first.sweep_yaml == a_sweep().sweep_yaml
    assert (second.number, second.changed_by, second.changed_at) == (2, "ann@host", clock.now)
    assert (second.changes, second.first_number) == ({"run_cap": 2, "early_terminate": None}, 2)


def test_second_change_with_the_same_number_conflicts_and_changes_nothing(
    sweep: Store, open_another: Callable[[], Store]
) -> None:
    other = open_another()
    changed = change(sweep, run_cap=2)
    with pytest.raises(StoreConflict, match="read the sweep again"):
        change(other, run_cap=3)
    assert other.get_sweep(SWEEP) == changed
    assert len(other.list_revisions(SWEEP)) == 2


def test_trials_of_an_old_config_are_not_added(sweep: Store) -> None:
    change(sweep, run_cap=2)
    with pytest.raises(StoreConflict, match="the config changed"):
        sweep.add_trials(SWEEP, 0, [{"lr": 1}], config_revision=1)
    assert [trial.number for trial in sweep.add_trials(SWEEP, 0, [{"lr": 1}], config_revision=2)] == [0]


def test_revisions_are_removed_with_their_sweep(sweep: Store) -> None:
    change(sweep, run_cap=2)
    sweep.remove_sweep(SWEEP)
    sweep.create_sweep(a_sweep())
    assert [revision.number for revision in sweep.list_revisions(SWEEP)] == [1]


def an_agent(agent_id: str = "host:1:a") -> AgentRecord:
    return AgentRecord(id=agent_id, sweep_id=SWEEP, slots={"process@host": 2}, version="0.1.0")


def test_agent_is_recorded_until_it_is_removed(sweep: Store, clock: FakeClock) -> None:
    began = clock.now
    sweep.put_agent(an_agent())
    sweep.add_trials(SWEEP, 0, [{"lr": 1}, {"lr": 2}])
    sweep.claim(SWEEP, "host:1:a", "process@host", 60.0)
    clock.advance(30)
    assert sweep.beat("host:1:a", {"process@host": 3}) == replace(
        an_agent(), slots={"process@host": 3}, started_at=began, seen_at=clock.now
    )
    (found,) = sweep.list_agents(SWEEP)
    assert (found.trials, found.host, found.is_lost) == ((0,), "host", False)
    assert sweep.list_agents() == [found]
    clock.advance(3_600)
    (lost,) = sweep.list_agents()
    assert (lost.silent_s, lost.is_lost) == (3_600, True)
    sweep.remove_agent("host:1:a")
    assert sweep.list_agents() == []
    assert sweep.beat("host:1:a", {}) is None


def test_order_is_read_with_the_next_heartbeat(sweep: Store, open_another: Callable[[], Store]) -> None:
    sweep.put_agent(an_agent())
    before = sweep.get_sweep(SWEEP)
    open_another().order_agent(SWEEP, "host:1:a", parallel=8)
    open_another().order_agent(SWEEP, "host:1:a", order="drain")
    after = sweep.get_sweep(SWEEP)
    assert (after.n_orders, after.revision) == (before.n_orders + 2, before.revision + 2)
    record = sweep.beat("host:1:a", {"process@host": 2})
    assert record is not None
    assert (record.order, record.parallel) == ("drain", 8)


def test_revision_with_parallel_removes_the_numbers_of_single_agents(sweep: Store) -> None:
    sweep.put_agent(an_agent())
    sweep.order_agent(SWEEP, "host:1:a", order="drain", parallel=8)
    kept = {"sweep_yaml": sweep.get_sweep(SWEEP).sweep_yaml, "job_yaml": "", "changed_by": "ann@host"}
    sweep.change_config(SWEEP, 2, changes={"run_cap": 9}, **kept)
    assert sweep.list_agents()[0].parallel == 8
    sweep.change_config(SWEEP, 3, changes={"parallel": 4}, **kept)
    assert (sweep.list_agents()[0].parallel, sweep.list_agents()[0].order) == (None, "drain")


def test_order_to_an_unknown_agent_is_refused(sweep: Store) -> None:
    with pytest.raises(NotFound, match="list its agents with"):
        sweep.order_agent(SWEEP, "host:1:a", order="stop")


def test_records_of_agents_that_were_lost_for_a_day_are_removed(sweep: Store, clock: FakeClock) -> None:
    sweep.put_agent(an_agent())
    clock.advance(3_600 * 25)
    sweep.put_agent(an_agent("host:2:b"))
    assert [agent.id for agent in sweep.list_agents()] == ["host:2:b"]
