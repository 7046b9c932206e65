"""Read-only stores on every database."""

from __future__ import annotations

import pytest

from smsweep.core.sweep import SweepState
from smsweep.errors import StoreError
from smsweep.store.base import Store
from smsweep.store.open import open_store
from tests.support.sweeps import parse_stored


def open_to_read(url: str) -> Store:
    return open_store(url, environ={}, parse=parse_stored, sleep=lambda _: None, read_only=True)


def test_read_only_database_refuses_writes_and_reads_changes_of_others(sweep: Store, store_url: str) -> None:
    reader = open_to_read(store_url)
    try:
        with pytest.raises(StoreError, match=r"read.?only"):
            reader.set_sweep_state("abcd1234", list(SweepState), SweepState.PAUSED)
        assert reader.get_sweep("abcd1234").state is SweepState.RUNNING
        sweep.add_trials("abcd1234", 0, [{"lr": 0.1}])
        assert [trial.number for trial in reader.list_trials("abcd1234", since=0)] == [0]
    finally:
        reader.close()


def test_empty_database_gets_schema(store_url: str) -> None:
    reader = open_to_read(store_url)
    try:
        assert reader.list_sweeps() == []
    finally:
        reader.close()
