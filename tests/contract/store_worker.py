"""A process that changes a store, and prints each change after its commit.

python -m tests.contract.store_worker URL SWEEP WORK NAME N
"""

from __future__ import annotations

import random
import sys

from smsweep.core.trial import MetricPoint, TrialState
from smsweep.errors import StoreConflict
from smsweep.store.base import Store
from smsweep.store.open import open_store
from smsweep.util.clock import utc_now
from tests.support.sweeps import parse_stored


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


def main(url: str, sweep_id: str, work: str, name: str, n: str) -> None:
    store = open_store(url, environ={}, parse=parse_stored)
    WORK[work](store, sweep_id, name, int(n))
    store.close()


WORK = {"claim": claim_all, "add": add_some, "report": report, "open": lambda *_: None}

if __name__ == "__main__":
    main(*sys.argv[1:])
