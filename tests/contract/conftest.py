"""Fixtures that run each contract test on every kind of store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from smsweep.store.base import Store
from smsweep.store.open import open_store
from tests.support.clock import FakeClock
from tests.support.postgres import Postgres, run_postgres
from tests.support.sweeps import a_sweep, parse_stored


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with run_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database that does not exist or is empty."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_schema()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def open_another(store_url: str, clock: FakeClock) -> Iterator[Callable[[], Store]]:
    """Open the store under test a second time, as another process does."""
    with ExitStack() as stack:

        def open_it() -> Store:
            store = open_store(store_url, environ={}, parse=parse_stored, clock=clock)
            stack.callback(store.close)
            return store

        yield open_it


@pytest.fixture
def store(open_another: Callable[[], Store]) -> Store:
    return open_another()


@pytest.fixture
def sweep(store: Store) -> Store:
    """The store with one running sweep."""
    store.create_sweep(a_sweep())
    return store
