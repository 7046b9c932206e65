"""Frequent queries use an index, so that a store with 100,000 trials is as fast as a small one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from smsweep.core.trial import TrialState
from smsweep.store import queries
from smsweep.store.base import Store
from smsweep.store.open import engine_of, open_store
from tests.support.sweeps import a_sweep, parse_stored

SWEEP = "abcd1234"

HOT = {
    "claim": (queries.FIRST_PENDING, "trials_pending"),
    "claim an abandoned one": (queries.ABANDONED, "trials_active"),
    "renew": (queries.SET_LEASES, "trials_held"),
    "holders": (queries.HOLDERS, "trials_active"),
    "changes": (queries.CHANGED_TRIALS, "trials_changed"),
    "curves": (queries.CURVES, "trials_changed"),
    "active": (queries.ANY_ACTIVE, "trials_active"),
    "trial": (queries.TRIAL, "sqlite_autoindex_trials_1 (sweep_id=? AND number=?)"),
    "last point": (queries.LAST_POINT, "points USING PRIMARY KEY (sweep_id=? AND number=?)"),
    "points": (queries.POINTS, "points USING PRIMARY KEY (sweep_id=? AND number=?)"),
}


# A few active trials, or the points of one trial: a small result for any size of the sweep.
SORTING = {"claim an abandoned one", "holders", "curves"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{tmp_path / 'x.db'}", environ={}, parse=parse_stored)) as store:
        store.create_sweep(a_sweep())
        yield store


@pytest.mark.parametrize("name", HOT)
def test_frequent_query_uses_index(store: Store, tmp_path: Path, name: str) -> None:
    statement, index = HOT[name]
    plan = plan_of(statement, tmp_path / "x.db")
    assert index in plan
    assert "SCAN trials" not in plan
    assert "SCAN points" not in plan


@pytest.mark.parametrize("name", sorted(set(HOT) - SORTING))
def test_frequent_query_does_not_sort(store: Store, tmp_path: Path, name: str) -> None:
    assert "TEMP B-TREE" not in plan_of(HOT[name][0], tmp_path / "x.db")


def plan_of(statement: sa.Executable, file: Path) -> str:
    engine = engine_of(sa.make_url(f"sqlite:///{file}"))
    with closing(engine.raw_connection()) as connection:
        compiled = statement.compile(engine)  # type: ignore[attr-defined]  # of every SQL statement
        cursor = connection.cursor()
        cursor.execute(f"EXPLAIN QUERY PLAN {compiled}", [None] * len(compiled.positiontup))
        plan = "\n".join(row[3] for row in cursor.fetchall())
    engine.dispose()
    return plan


@pytest.mark.slow
def test_claim_among_100_000_trials_takes_less_than_10_ms_of_cpu(store: Store) -> None:
    for first in range(0, 100_000, 10_000):
        store.add_trials(SWEEP, first, [{"lr": 0.1}] * 10_000)
    taken = []
    for _ in range(50):
        start = time.process_time()
        trial = store.claim(SWEEP, "ann", "here", 60)
        taken.append(time.process_time() - start)
        assert trial is not None
        store.move(SWEEP, trial.number, [TrialState.RUNNING], TrialState.FINISHED)
    assert sorted(taken)[25] < 0.01
