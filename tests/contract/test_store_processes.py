"""Contract of all stores for several processes: concurrent changes, and kills during a change."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from itertools import chain
from pathlib import Path

import pytest

from smsweep.core.trial import History, TrialState
from smsweep.errors import StoreConflict
from smsweep.store.base import Store
from tests.contract.store_worker import change

SWEEP = "abcd1234"
ROOT = Path(__file__).parents[2]

Worker = subprocess.Popen[str]


def start(url: str, work: str, name: str, n: int = 0) -> Worker:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.contract.store_worker", url, SWEEP, work, name, str(n)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


def answers(workers: list[Worker]) -> list[list[int]]:
    """Wait until all processes have exited with code 0, and return the numbers that each process printed."""
    outs = [worker.communicate(timeout=120)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * len(workers)
    return [[int(line) for line in out.split()] for out in outs]


def kill_at_work(worker: Worker, lines: int) -> list[int]:
    """Kill a worker with SIGKILL after it has printed n lines, and return all its lines."""
    assert worker.stdout is not None
    printed = [worker.stdout.readline() for _ in range(lines)]
    worker.send_signal(signal.SIGKILL)
    rest = worker.stdout.read()
    worker.stdout.close()
    assert worker.wait(60) == -signal.SIGKILL
    return [int(line) for line in [*printed, *rest.splitlines(keepends=True)] if line.endswith("\n")]


def damage(url: str) -> list[str]:
    """Return the problems that SQLite's integrity check finds. Other databases are not checked."""
    if not url.startswith("sqlite"):
        return []
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        return [row[0] for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]


def test_several_processes_can_open_new_store_at_once(store_url: str) -> None:
    answers([start(store_url, "open", str(i)) for i in range(4)])


def test_concurrent_claims_share_trials_without_repeat_or_loss(sweep: Store, store_url: str) -> None:
    sweep.add_trials(SWEEP, 0, [{"x": i} for i in range(200)])
    claimed = answers([start(store_url, "claim", name) for name in ("ann", "bob", "carl")])
    assert sorted(chain(*claimed)) == list(range(200))
    assert sweep.count_trials(SWEEP) == {TrialState.FINISHED: 200}


def test_concurrent_adds_leave_no_gap_and_no_repeat(sweep: Store, store_url: str) -> None:
    added = answers([start(store_url, "add", name, 60) for name in ("ann", "bob", "carl")])
    assert sorted(chain(*added)) == list(range(180))
    names = {t.number: t.params["by"] for t in sweep.list_trials(SWEEP)}
    assert [names[n] for numbers in added for n in numbers] == ["ann"] * 60 + ["bob"] * 60 + ["carl"] * 60


def test_reader_of_changes_misses_no_change_while_others_write(sweep: Store, store_url: str) -> None:
    workers = [start(store_url, "add", name, 60) for name in ("ann", "bob")]
    seen, cursor = History(), 0
    while len(seen) < 120:
        changes = sweep.list_trials(SWEEP, since=cursor)
        cursor = max([cursor, *(t.revision for t in changes)])
        seen.update(changes)
        assert all(worker.poll() in (None, 0) for worker in workers)
    answers(workers)
    assert list(seen) == sweep.list_trials(SWEEP)


def test_readers_of_one_log_count_each_point_once(sweep: Store, store_url: str) -> None:
    """Two agents both assume that they hold a trial: one stops at a conflict, each point is stored once."""
    sweep.add_trials(SWEEP, 0, [{}])
    workers = [start(store_url, "report", name, 300) for name in ("ann", "bob")]
    outs = [worker.communicate(timeout=120)[0].split() for worker in workers]
    assert sorted(int(position) for out in outs for position in out) == list(range(1, 301))
    assert sweep.get_trial(SWEEP, 0).n_points == 600


def test_kill_9_of_writer_loses_no_committed_data(
    sweep: Store, store_url: str, open_another: Callable[[], Store]
) -> None:
    sweep.add_trials(SWEEP, 0, [{}])
    for lines in (5, 40, 90):
        adder, reporter = start(store_url, "add", "ann", 10**6), start(store_url, "report", "bob", 10**6)
        added = kill_at_work(adder, lines)
        reported = kill_at_work(reporter, lines)
        store = open_another()
        numbers = [t.number for t in store.list_trials(SWEEP)]
        assert sorted(numbers) == list(range(len(numbers)))
        assert set(added) <= set(numbers)
        trial = store.get_trial(SWEEP, 0)
        assert int(trial.cursor) >= max(reported)
        assert trial.n_points == 2 * int(trial.cursor) == len(store.read_points(SWEEP, 0))
        assert {name: stats.count for name, stats in trial.metrics.items()} == {
            "a": int(trial.cursor),
            "b": int(trial.cursor),
        }
        assert damage(store_url) == []


@pytest.mark.parametrize("number", [2, 4])
def test_kill_9_at_each_sql_statement_leaves_a_change_complete_or_absent(
    store: Store, store_url: str, open_another: Callable[[], Store], number: int
) -> None:
    """The first change also records the first revision. A repeat of the change makes the same revision."""
    worker = start(store_url, "die", "ann", number)
    out, _ = worker.communicate(timeout=120)
    assert worker.returncode == 0
    steps = dict(line.split(" ", 1) for line in out.splitlines())
    inserts = [name for name in steps.values() if name == "before INSERT INTO revisions"]
    assert len(inserts) == (2 if number == 2 else 1)
    assert list(steps.values())[-2:] == ["before COMMIT", "after COMMIT"]
    for sweep_id, step in steps.items():
        other = open_another()
        is_done = step == "after COMMIT"
        check_config(other, sweep_id, number if is_done else number - 1, "killed")
        assert other.get_sweep(sweep_id).revision == number - (not is_done)
        if not is_done:
            change(other, sweep_id, number, "killed")
        with pytest.raises(StoreConflict, match="read the sweep again"):
            change(other, sweep_id, number, "killed")
        check_config(other, sweep_id, number, "killed")
        assert change(other, sweep_id, number + 1, "bob").config_revision == number + 1
    assert damage(store_url) == []


def check_config(store: Store, sweep_id: str, number: int, changed_by: str) -> None:
    """Check that a sweep has the config of a revision, and all revisions up to this one."""
    sweep, revisions = store.get_sweep(sweep_id), store.list_revisions(sweep_id)
    assert sweep.config_revision == number
    assert [each.number for each in revisions] == list(range(1, number + 1))
    newest = revisions[-1]
    assert (newest.sweep_yaml, newest.job_yaml) == (sweep.sweep_yaml, sweep.job_yaml)
    assert newest.changes == ({"run_cap": number} if number > 1 else {})
    assert number == 1 or newest.changed_by in (changed_by, "before")


def test_kill_9_of_a_changing_process_loses_no_committed_revision(
    sweep: Store, store_url: str, open_another: Callable[[], Store]
) -> None:
    for lines in (1, 20, 50):
        workers = [start(store_url, "change", name, 10**6) for name in ("ann", "bob")]
        printed = [kill_at_work(worker, lines) for worker in workers]
        store = open_another()
        revisions = store.list_revisions(SWEEP)
        assert [each.number for each in revisions] == list(range(1, len(revisions) + 1))
        for name, numbers in zip(("ann", "bob"), printed, strict=True):
            assert {revisions[number - 1].changed_by for number in numbers} == {name}
        stored = store.get_sweep(SWEEP)
        assert stored.config_revision == len(revisions)
        assert stored.sweep_yaml == revisions[-1].sweep_yaml
        assert damage(store_url) == []


def test_concurrent_changes_make_one_revision_each(sweep: Store, store_url: str) -> None:
    made = answers([start(store_url, "change", name, 20) for name in ("ann", "bob", "carl")])
    assert sorted(chain(*made)) == list(range(2, 62))
    by = {each.number: each.changed_by for each in sweep.list_revisions(SWEEP)}
    assert [by[number] for numbers in made for number in numbers] == ["ann"] * 20 + ["bob"] * 20 + ["carl"] * 20


def test_store_works_in_several_threads(sweep: Store) -> None:
    sweep.add_trials(SWEEP, 0, [{} for _ in range(60)])
    claimed: list[int] = []

    def work() -> None:
        while (trial := sweep.claim(SWEEP, "ann", "here", 60)) is not None:
            claimed.append(trial.number)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == list(range(60))


def test_concurrent_decision_is_retried_with_new_data(sweep: Store, open_another: Callable[[], Store]) -> None:
    other = open_another()
    sweep.add_trials(SWEEP, 0, [{"by": "ann"}])
    with pytest.raises(StoreConflict):
        other.add_trials(SWEEP, 0, [{"by": "bob"}])
    assert other.get_trial(SWEEP, 0).params == {"by": "ann"}
