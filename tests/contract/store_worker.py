"""A process that changes a store, and prints each change after its commit.

python -m tests.contract.store_worker URL SWEEP WORK NAME N
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
from typing import Any

from sqlalchemy import event

from smsweep.core.sweep import Sweep
from smsweep.core.trial import MetricPoint, TrialState
from smsweep.errors import StoreConflict
from smsweep.store.base import Store
from smsweep.store.open import open_store
from smsweep.store.sql import SqlStore
from smsweep.util.clock import utc_now
from tests.support.sweeps import a_sweep, parse_stored


def claim_all(store: Store, sweep_id: str, name: str, _: int) -> None:
    """Claim and finish all trials, and print their numbers."""
    while (trial := store.claim(sweep_id, name, "here", 600)) is not None:
        store.move(sweep_id, trial.number, [TrialState.RUNNING], TrialState.FINISHED, agent_id=name)
        print(trial.number, flush=True)


def add_some(store: Store, sweep_id: str, name: str, n: int) -> None:
    """Add n trials, each at the next number that was read, and print their numbers."""
    cursor = 0
    next_number = 0
    rng = random.Random(name)
    added = 0
    while added < n:
        try:
            (trial,) = store.add_trials(sweep_id, next_number, [{"by": name, "x": rng.random()}])
        except StoreConflict:
            changes = store.list_trials(sweep_id, since=cursor)
            cursor = max([cursor, *(t.revision for t in changes)])
            next_number = max([next_number, *(t.number + 1 for t in changes)])
            continue
        next_number = trial.number + 1
        added += 1
        print(trial.number, flush=True)


def report(store: Store, sweep_id: str, _: str, n: int) -> None:
    """Append two points at a time to trial 0 from its last log position, and print the position."""
    cursor = store.get_trial(sweep_id, 0).cursor
    for position in range(int(cursor or 0), n):
        points = [MetricPoint(name=name, value=position, step=position, time=utc_now()) for name in ("a", "b")]
        trial = store.append_points(sweep_id, 0, points, str(position + 1), expect_cursor=cursor)
        cursor = trial.cursor
        print(cursor, flush=True)


def change_some(store: Store, sweep_id: str, name: str, n: int) -> None:
    """Change the config n times, each time to the next revision that was read, and print the revisions."""
    done = 0
    while done < n:
        try:
            changed = change(store, sweep_id, store.get_sweep(sweep_id).config_revision + 1, name)
        except StoreConflict:
            continue
        done += 1
        print(changed.config_revision, flush=True)


def change(store: Store, sweep_id: str, number: int, name: str) -> Sweep:
    """Change the config of a sweep to the revision of a number."""
    texts = {"sweep_yaml": f"{number} by {name}", "job_yaml": f"job of {number}"}
    return store.change_config(sweep_id, number, **texts, changes={"run_cap": number}, changed_by=name)


def die_at_each_step(url: str, sweep_id: str, n: int) -> None:
    """Change the configs of new sweeps, each in a process that is killed one step later than the last one.

    The steps are the begin and the end of each SQL statement and of the COMMIT. Prints each sweep's id and step.

    Args:
        url: The store.
        sweep_id: Prefix of the ids of the sweeps.
        n: The number of the revision that the killed process makes.
    """
    store = open_store(url, environ={}, parse=parse_stored)
    for step in itertools.count(1):
        each = f"{sweep_id}{step:02}"
        store.create_sweep(a_sweep(each))
        for number in range(2, n):
            change(store, each, number, "before")
        reads, writes = os.pipe()
        if (pid := os.fork()) == 0:
            own = open_store(url, environ={}, parse=parse_stored)
            assert isinstance(own, SqlStore)
            kill_at(own, step, writes)
            change(own, each, n, "killed")
            os._exit(0)
        os.close(writes)
        with os.fdopen(reads) as file:
            reached = file.read()
        if os.waitpid(pid, 0)[1] != signal.SIGKILL:
            break
        print(each, reached, flush=True)
    store.remove_sweep(each)
    store.close()


def kill_at(store: SqlStore, step: int, pipe: int) -> None:
    """Make this process write the name of a later step of the store to a pipe, and kill itself there."""
    engine, steps = store.transactions._engine, itertools.count(1)

    def at(when: str, statement: str) -> None:
        if next(steps) == step:
            os.write(pipe, f"{when} {' '.join(statement.split()[:3])}".encode())
            os.kill(os.getpid(), signal.SIGKILL)

    def commit(connection: Any) -> None:
        at("before", "COMMIT")
        do_commit(connection)
        at("after", "COMMIT")

    event.listen(engine, "before_cursor_execute", lambda _, __, statement, *___: at("before", statement))
    event.listen(engine, "after_cursor_execute", lambda _, __, statement, *___: at("after", statement))
    do_commit, engine.dialect.do_commit = engine.dialect.do_commit, commit  # type: ignore[method-assign, assignment]


def main(url: str, sweep_id: str, work: str, name: str, n: str) -> None:
    if work == "die":
        die_at_each_step(url, sweep_id, int(n))
        return
    store = open_store(url, environ={}, parse=parse_stored)
    WORK[work](store, sweep_id, name, int(n))
    store.close()


WORK = {"claim": claim_all, "add": add_some, "report": report, "change": change_some, "open": lambda *_: None}

if __name__ == "__main__":
    main(*sys.argv[1:])
