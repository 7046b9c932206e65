"""What only a server can do to a store: close its connections, and stay away."""

from __future__ import annotations

from contextlib import closing

import pytest
import sqlalchemy as sa

from smsweep.errors import StoreUnavailable
from smsweep.store.open import open_store
from tests.fakes.sweeps import CONFIG, a_sweep
from tests.postgres import Postgres


def close_all_connections(url: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        connection.execute(sa.text(f"{others} AND usename = current_user"))
    engine.dispose()


def test_a_connection_that_the_server_closed_is_opened_again(postgres: Postgres) -> None:
    url = postgres.new_schema()
    slept: list[float] = []
    with closing(open_store(url, environ={}, parse=lambda _: CONFIG, sleep=slept.append)) as store:
        assert store.list_sweeps() == []
        close_all_connections(url)
        store.create_sweep(a_sweep())
        assert [sweep.id for sweep in store.list_sweeps()] == ["abcd1234"]
    assert len(slept) == 1


def test_a_server_that_is_not_there_is_named_with_a_cure() -> None:
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:9/db: .*; check that it is running"):
        open_store("postgresql://me@127.0.0.1:9/db", environ={}, parse=lambda _: CONFIG)
