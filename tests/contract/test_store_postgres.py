"""Stores on a database server: closed connections, server outages and server settings."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import cast

import pytest
import sqlalchemy as sa

from smsweep.errors import StoreDown, StoreUnavailable
from smsweep.store import open as open_module
from smsweep.store.open import open_store
from smsweep.store.sql import SqlStore
from tests.support.agent_kit import Kit
from tests.support.postgres import Postgres
from tests.support.scripted_backend import Plot, ScriptedBackend
from tests.support.sweeps import a_sweep, parse_stored

GRID = {"method": "grid", "program": "train.py", "parameters": {"a": {"values": [1, 2]}}}


def close_all_connections(url: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        connection.execute(sa.text(f"{others} AND usename = current_user"))
    engine.dispose()


def test_connection_closed_by_server_is_reopened(postgres: Postgres) -> None:
    url = postgres.new_schema()
    slept: list[float] = []
    with closing(open_store(url, environ={}, parse=parse_stored, sleep=slept.append)) as store:
        assert store.list_sweeps() == []
        close_all_connections(url)
        store.create_sweep(a_sweep())
        assert [sweep.id for sweep in store.list_sweeps()] == ["abcd1234"]
    assert len(slept) == 1


def test_connection_lost_at_commit_is_retried_for_read_and_reported_for_write(
    postgres: Postgres,
) -> None:
    url = postgres.new_schema()
    lost: list[int] = []

    def work_and_lose(connection: sa.Connection) -> int:
        known = connection.execute(sa.text("SELECT 1")).scalar_one()
        if not lost:
            close_all_connections(url)
        lost.append(1)
        return int(known)

    engine = open_module.engine_of(sa.make_url(url))
    with closing(SqlStore(engine, clock=None, parse=parse_stored, sleep=lambda _: None)) as store:
        assert store.transactions.read(work_and_lose) == 1
        assert len(lost) == 2
        lost.clear()
        with pytest.raises(StoreUnavailable):  # the commit may have succeeded
            store.transactions.write(work_and_lose)
        assert len(lost) == 1


def test_connection_lost_while_opening_is_retried(postgres: Postgres) -> None:
    url = postgres.new_schema()
    slept: list[float] = []
    engine = open_module.engine_of(sa.make_url(url))

    def lose(connection: object, _: object) -> None:
        if not slept:
            close_all_connections(url)

    sa.event.listen(engine, "connect", lose, insert=True)
    with closing(SqlStore(engine, clock=None, parse=parse_stored, sleep=slept.append)) as store:
        store.transactions.read(lambda connection: connection.execute(sa.text("SELECT 1")))
    assert len(slept) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("&options=-csearch_path%3Dnosuch", r"no schema of its search_path exists .*CREATE SCHEMA"),
        ("&options=-cdefault_transaction_read_only%3Don", r"a copy that cannot be written .*primary"),
    ],
)
def test_missing_server_feature_is_reported_with_fix(postgres: Postgres, options: str, message: str) -> None:
    url = postgres.new_schema().partition("&options")[0] + options
    with pytest.raises(StoreUnavailable, match=message):
        open_store(url, environ={}, parse=parse_stored)


def test_session_settings_are_restored_for_connection_poolers(postgres: Postgres) -> None:
    url = postgres.new_schema()
    with closing(open_store(url, environ={}, parse=parse_stored, read_only=True)) as opened:
        store = cast("SqlStore", opened)
        for _ in range(20):
            store.list_sweeps()

        def left(connection: sa.Connection) -> tuple[object, ...]:
            statement = "SELECT (SELECT count(*) FROM pg_prepared_statements), reset_val"
            where = "FROM pg_settings WHERE name = 'default_transaction_read_only'"
            return tuple(connection.execute(sa.text(f"{statement}, setting {where}")).one())

        assert store.transactions.read(left) == (0, "off", "off")


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_other_database_encoding_stores_supported_text_and_reports_the_rest(
    postgres: Postgres, encoding: str
) -> None:
    url = sa.make_url(postgres.new_schema())
    server = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        statement = f"CREATE DATABASE {encoding.lower()} ENCODING '{encoding}' TEMPLATE template0"
        connection.execute(sa.text(statement))  # the locale of the cluster is C
    server.dispose()
    there = url.set(database=encoding.lower()).difference_update_query(["options"])
    with closing(open_store(there.render_as_string(), environ={}, parse=parse_stored)) as store:
        store.create_sweep(a_sweep())
        store.put_note("abcd1234", "key", "caf\u00e9")
        assert store.get_note("abcd1234", "key") == "caf\u00e9"
        if encoding == "LATIN1":
            with pytest.raises(StoreUnavailable, match=r"encoding lacks a character .*UTF8"):
                store.create_sweep(replace(a_sweep("efgh5678"), name="\u03bb"))


@pytest.mark.parametrize("ahead_s", [600, -600])
def test_lease_uses_server_clock(postgres: Postgres, monkeypatch: pytest.MonkeyPatch, ahead_s: int) -> None:
    url = postgres.new_schema()
    with closing(open_store(url, environ={}, parse=parse_stored)) as store:
        store.create_sweep(a_sweep())
        store.add_trials("abcd1234", 0, [{"lr": 1}, {"lr": 2}])
        here = store.claim("abcd1234", "here", "p", lease_s=60)
        monkeypatch.setattr("smsweep.store.open.datetime", clock_with_offset(ahead_s))
        with closing(open_store(url, environ={}, parse=parse_stored)) as other:
            there = other.claim("abcd1234", "there", "p", lease_s=60)
            assert other.claim("abcd1234", "there", "p", lease_s=60) is None
        assert store.claim("abcd1234", "here", "p", lease_s=60) is None
    assert here is not None
    assert there is not None
    assert (here.number, there.number) == (0, 1)
    assert here.started_at is not None
    assert there.started_at is not None
    assert abs((there.started_at - here.started_at).total_seconds()) < 60


def clock_with_offset(ahead_s: int) -> type[datetime]:
    class Skewed(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # Self in the base
            return datetime.now(tz) + timedelta(seconds=ahead_s)

    return Skewed


def test_agents_with_different_clocks_never_hold_same_trial(postgres: Postgres, tmp_path: Path) -> None:
    kit = Kit(tmp_path, {**GRID, "run_cap": 1}, url=postgres.new_schema())
    backend = ScriptedBackend(lambda trial: Plot(ends=False))
    right, fast = kit.agent(backend, agent_id="right"), kit.agent(backend, agent_id="fast")
    for _ in range(3):
        right.tick()
        kit.advance(600)
        fast.tick()
        kit.advance(-600)
    assert [trial.agent_id for trial in kit.trials()] == ["right"]
    kit.store.close()


def test_process_frozen_in_transaction_loses_its_locks(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.new_schema()
    monkeypatch.setattr(open_module, "SILENCE_S", 1)
    frozen = open_module.engine_of(sa.make_url(url))
    with closing(open_store(url, environ={}, parse=parse_stored)) as store:
        store.create_sweep(a_sweep())
        with pytest.raises(sa.exc.DBAPIError), frozen.begin() as connection:
            connection.execute(sa.text("SELECT * FROM sweeps FOR UPDATE"))
            store.put_note("abcd1234", "key", 1)  # waits until the server ends the idle transaction
            connection.execute(sa.text("SELECT 1"))
        assert store.get_note("abcd1234", "key") == 1
    frozen.dispose()


def test_unreachable_server_is_reported_with_fix() -> None:
    with pytest.raises(StoreDown, match=r"127\.0\.0\.1:9/db: no server answers there .*; start the server"):
        open_store("postgresql://me@127.0.0.1:9/db", environ={}, parse=parse_stored)
