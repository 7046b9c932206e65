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
