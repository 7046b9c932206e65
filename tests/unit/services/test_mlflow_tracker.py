"""Which process of a sweep's agents writes to MLflow."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from smsweep.services.agents.mlflow_tracker import LEASE_S, _Writer
from smsweep.services.workspace import read_stored
from smsweep.store.base import Store
from smsweep.store.open import open_store
from smsweep.util.clock import utc_now
from tests.support.sweeps import a_sweep

SWEEP = a_sweep().id
PRINT_ID = [sys.executable, "-c", "from smsweep.services.agent_ids import new_agent_id; print(new_agent_id())"]


class Clock:
    def __init__(self) -> None:
        self.now = utc_now()

    def __call__(self) -> datetime:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{tmp_path / 'x.db'}", environ={}, parse=read_stored)) as store:
        store.create_sweep(a_sweep())
        yield store


def test_one_agent_writes_until_it_stops_renewing(store: Store) -> None:
    clock = Clock()
    first, second = (_Writer(SWEEP, f"host:{n}:x", clock) for n in (1, 2))
    for _ in range(5):
        assert first.hold(store)
        assert not second.hold(store)
        clock.wait(LEASE_S * 0.6)
    clock.wait(LEASE_S)
    assert second.hold(store)
    assert not first.hold(store)
    clock.wait(2 * LEASE_S)
    assert first.hold(store)
    assert not second.hold(store)


def test_agent_that_no_longer_runs_is_replaced_at_once(store: Store) -> None:
    gone = subprocess.run(PRINT_ID, capture_output=True, text=True, check=True).stdout.strip()
    assert _Writer(SWEEP, gone).hold(store)
    assert _Writer(SWEEP, "host:1:x").hold(store)
    assert not _Writer(SWEEP, gone).hold(store)


def test_exited_process_is_replaced_at_once(store: Store) -> None:
    first, second = (_Writer(SWEEP, f"host:{n}:x") for n in (1, 2))
    assert first.hold(store)
    first.release(store)
    assert second.hold(store)
    first.release(store)
    assert second.hold(store)
    assert not first.hold(store)
