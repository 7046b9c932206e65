"""A watcher of a sweep that other processes change: it reports each change once, and the numbers of `show`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from smsweep.core.sweep import SweepState
from smsweep.core.trial import MetricPoint, TrialState
from smsweep.errors import NotFound
from smsweep.services.sweeps.create import sweep as create_sweep
from smsweep.services.views import json_views
from smsweep.services.views.watcher import Watcher
from smsweep.services.workspace import Workspace
from smsweep.store.base import Store

CONFIG: dict[str, Any] = {
    "method": "random",
    "run_cap": 4,
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"lr": {"min": 0.0, "max": 1.0}, "epochs": {"value": 3}},
}
RUNNING = [TrialState.RUNNING]
NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.delenv("SMSWEEP_STORE", raising=False)
    monkeypatch.setenv("SMSWEEP_DIR", str(tmp_path))
    with Workspace().store(create=True) as opened:
        yield opened


@pytest.fixture
def sweep_id(store: Store) -> str:
    return create_sweep(CONFIG)


@pytest.fixture
def watcher(sweep_id: str) -> Iterator[Watcher]:
    with Watcher(sweep_id) as opened:
        yield opened


def start(store: Store, sweep_id: str, n: int = 1, lease_s: float = 60) -> None:
    store.add_trials(sweep_id, 0, [{"lr": 0.1 * (i + 1), "epochs": 3} for i in range(n)])
    for _ in range(n):
        assert store.claim(sweep_id, "other:1:a", "process@other", lease_s)


def report(store: Store, sweep_id: str, *losses: float, number: int = 0, step: int | None = None) -> None:
    before = store.get_trial(sweep_id, number)
    points = [MetricPoint(name="loss", value=loss, step=step, time=NOW + timedelta(seconds=1)) for loss in losses]
    store.append_points(sweep_id, number, points, before.cursor + ".", expect_cursor=before.cursor)


def kinds(watcher: Watcher) -> list[str]:
    return [event["event"] for event in watcher.poll().events]


def test_each_change_is_reported_once(store: Store, sweep_id: str, watcher: Watcher) -> None:
    assert kinds(watcher) == ["sweep"]
    start(store, sweep_id, 2)
    assert kinds(watcher) == ["trial", "trial"]
    report(store, sweep_id, 0.5)
    assert kinds(watcher) == ["metrics", "best"]
    assert kinds(watcher) == []
    store.move(sweep_id, 0, RUNNING, TrialState.FINISHED)
    assert kinds(watcher) == ["trial"]
    store.move(sweep_id, 1, RUNNING, TrialState.FAILED, reason="boom\nTraceback")
    store.set_sweep_state(sweep_id, list(SweepState), SweepState.FINISHED)
    assert kinds(watcher) == ["trial", "sweep"]
    store.remove_trial(sweep_id, 1)
    (removed,) = watcher.poll().events
    assert removed["event"] == "trial"
    assert (removed["number"], removed["removed"]) == (1, True)


def test_first_look_reports_only_active_trials(store: Store, sweep_id: str) -> None:
    start(store, sweep_id, 3)
    store.move(sweep_id, 0, RUNNING, TrialState.FINISHED)
    with Watcher(sweep_id) as late:
        events = late.poll().events
    assert [(event["event"], event.get("number")) for event in events] == [
        ("sweep", None),
        ("trial", 1),
        ("trial", 2),
    ]


def test_look_has_the_numbers_of_show(store: Store, sweep_id: str, watcher: Watcher) -> None:
    start(store, sweep_id, 2)
    report(store, sweep_id, 0.5, 0.25)
    assert watcher.poll().document == json_views.show(sweep_id)
    assert watcher.poll().fixed == {"epochs"}


def test_curve_grows_by_the_new_points(store: Store, sweep_id: str, watcher: Watcher) -> None:
    start(store, sweep_id)
    report(store, sweep_id, 3.0, 2.0)
    (slot,) = watcher.poll().slots
    assert (list(slot.curve), slot.step) == ([3.0, 2.0], 2)
    report(store, sweep_id, float("nan"), 1.0, step=40)
    (slot,) = watcher.poll().slots
    assert (list(slot.curve), slot.step) == ([3.0, 2.0, 1.0], 40)


def test_curve_continues_at_the_checkpoint_in_the_next_attempt(
    store: Store, sweep_id: str, watcher: Watcher
) -> None:
    start(store, sweep_id)
    for step in range(4):
        report(store, sweep_id, 9.0 - step, step=step)
    watcher.poll()
    store.move(sweep_id, 0, RUNNING, TrialState.PENDING)
    store.claim(sweep_id, "other:1:a", "process@other", 60)
    assert list(watcher.poll().slots[0].curve) == [9, 8, 7, 6]
    for step in range(2, 7):
        report(store, sweep_id, 1.0, step=step)
    assert list(watcher.poll().slots[0].curve) == [9, 8, 1, 1, 1, 1, 1]


def test_trial_is_lost_when_its_lease_has_expired(store: Store, sweep_id: str, watcher: Watcher) -> None:
    start(store, sweep_id, lease_s=-1)
    assert watcher.poll().slots[0].is_lost


def test_failure_reasons_are_grouped(store: Store, sweep_id: str, watcher: Watcher) -> None:
    start(store, sweep_id, 3)
    for number, reason in enumerate(["OSError: a\nat 1", "OSError: a\nat 2", "KeyError"]):
        store.move(sweep_id, number, RUNNING, TrialState.FAILED, reason=reason)
    assert watcher.poll().reasons == [("OSError: a", 2), ("KeyError", 1)]


@pytest.mark.parametrize("state", ["stopped", "running", "paused"])
def test_sweep_is_not_over_while_a_trial_runs(store: Store, sweep_id: str, watcher: Watcher, state: str) -> None:
    start(store, sweep_id)
    store.set_sweep_state(sweep_id, list(SweepState), SweepState(state))
    assert not watcher.poll().is_over


def test_stopped_sweep_is_over_when_its_last_trial_has_ended(
    store: Store, sweep_id: str, watcher: Watcher
) -> None:
    start(store, sweep_id)
    store.set_sweep_state(sweep_id, list(SweepState), SweepState.STOPPED)
    store.move(sweep_id, 0, RUNNING, TrialState.FINISHED)
    assert watcher.poll().is_over


def test_look_raises_not_found_when_the_sweep_is_removed(store: Store, sweep_id: str, watcher: Watcher) -> None:
    watcher.poll()
    store.remove_sweep(sweep_id)
    with pytest.raises(NotFound):
        watcher.poll()
