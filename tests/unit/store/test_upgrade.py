"""Upgrade from an older schema to the current schema: complete, or without effect."""

from __future__ import annotations

import hashlib
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa

from smsweep.core.trial import MetricPoint
from smsweep.store.open import SCRIPTS, engine_of, ensure_schema, open_store
from smsweep.store.tables import SCHEMA
from smsweep.store.transactions import Transactions
from tests.support.sweeps import a_sweep, parse_stored

NEWER = SCHEMA + 1
STORES = Path(__file__).with_name("stores")  # a store of each earlier version, as SQL

MIGRATION = f"""
import sqlalchemy as sa
from alembic import op

revision = "{NEWER:04}"
down_revision = "{SCHEMA:04}"

def upgrade():
    op.create_table("extra", sa.Column("id", sa.Integer, primary_key=True))
    with op.batch_alter_table("trials") as trials:
        trials.alter_column("place", new_column_name="venue")
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A store with the current schema, one trial and one point."""
    file = tmp_path / "store.db"
    with closing(open_store(f"sqlite:///{file}", environ={}, parse=parse_stored)) as store:
        store.create_sweep(a_sweep())
        store.add_trials("abcd1234", 0, [{"lr": 1}])
        now = datetime(2026, 1, 2, tzinfo=timezone.utc)
        store.append_points("abcd1234", 0, [MetricPoint(name="loss", value=1.0, time=now)], "x", expect_cursor="")
    return file


@pytest.fixture
def transactions(file: Path) -> Iterator[Transactions]:
    with closing(Transactions(engine_of(sa.make_url(f"sqlite:///{file}")), time.sleep)) as transactions:
        yield transactions


def scripts_with(tmp_path: Path, migration: str) -> Path:
    """Return the migrations of a future version of smsweep."""
    scripts = tmp_path / "migrations"
    shutil.copytree(SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / "next.py").write_text(migration)
    return scripts


def look(file: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(sql).fetchall()


def version(file: Path) -> str:
    return str(look(file, "SELECT version_num FROM smsweep_version")[0][0])


def test_older_schema_is_upgraded_with_its_data(transactions: Transactions, file: Path, tmp_path: Path) -> None:
    ensure_schema(transactions, newest=NEWER, scripts=scripts_with(tmp_path, MIGRATION))
    assert version(file) == f"{NEWER:04}"
    assert look(file, "SELECT count(venue) FROM trials") == [(1,)]
    assert look(file, "SELECT count(*) FROM points") == [(1,)]


@pytest.mark.parametrize("dump", sorted(STORES.glob("v*.sql")), ids=lambda dump: dump.stem)
def test_store_of_every_version_is_read_after_upgrade(dump: Path, tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(dump.read_text())
    with closing(open_store(f"sqlite:///{file}", environ={}, parse=parse_stored)) as store:
        failed, pending = sorted(store.list_trials("abcd1234"), key=lambda trial: trial.number)
        (point,) = store.read_points("abcd1234", 0)
        assert (failed.state.value, failed.reason, failed.cursor) == ("failed", "ValueError: no", "7")
        assert (failed.metrics["loss"].last, point.value, point.step) == (0.5, 0.5, 1)
        assert (pending.params, pending.retries, pending.usage) == ({"lr": 2}, {}, {})
    assert version(file) == f"{SCHEMA:04}"


def test_program_of_a_search_gets_its_hash_with_the_upgrade(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript((STORES / "v2.sql").read_text())
    with closing(open_store(f"sqlite:///{file}", environ={}, parse=parse_stored)) as store:
        code = store.get_note("abcd1234", "search_code")
        digest = f"sha256:{hashlib.sha256(code.encode()).hexdigest()}"
        assert store.get_sweep("abcd1234").code_hash == digest


def test_foreign_keys_are_checked_after_upgrade(transactions: Transactions, file: Path, tmp_path: Path) -> None:
    ensure_schema(transactions, newest=NEWER, scripts=scripts_with(tmp_path, MIGRATION))
    transactions.write(lambda connection: connection.execute(sa.text("DELETE FROM sweeps")))
    assert look(file, "SELECT count(*) FROM points") == [(0,)]


def test_file_is_copied_before_upgrade(transactions: Transactions, file: Path, tmp_path: Path) -> None:
    ensure_schema(transactions, newest=NEWER, scripts=scripts_with(tmp_path, MIGRATION))
    copy = file.with_name(f"store.db.v{SCHEMA}.bak")
    assert version(copy) == f"{SCHEMA:04}"
    assert look(copy, "SELECT count(place) FROM trials") == [(1,)]


def test_failed_upgrade_changes_nothing(transactions: Transactions, file: Path, tmp_path: Path) -> None:
    before = look(file, "SELECT sql FROM sqlite_master")
    scripts = scripts_with(tmp_path, MIGRATION + "    raise RuntimeError('in the middle')\n")
    with pytest.raises(RuntimeError, match="in the middle"):
        ensure_schema(transactions, newest=NEWER, scripts=scripts)
    assert look(file, "SELECT sql FROM sqlite_master") == before
    assert version(file) == f"{SCHEMA:04}"


@pytest.mark.slow
def test_kill_9_in_an_upgrade_changes_nothing_and_the_next_one_succeeds(file: Path, tmp_path: Path) -> None:
    before = look(file, "SELECT sql FROM sqlite_master")
    killed = MIGRATION + "    import os, signal; os.kill(os.getpid(), signal.SIGKILL)\n"
    assert upgrade_in_a_process(file, scripts_with(tmp_path / "a", killed)) == -signal.SIGKILL
    assert look(file, "SELECT sql FROM sqlite_master") == before
    assert upgrade_in_a_process(file, scripts_with(tmp_path / "b", MIGRATION)) == 0
    assert version(file) == f"{NEWER:04}"


@pytest.mark.slow
def test_processes_that_upgrade_at_once_do_it_once(file: Path, tmp_path: Path) -> None:
    scripts = scripts_with(tmp_path, MIGRATION)
    workers = [start_upgrade(file, scripts) for _ in range(3)]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    assert look(file, "SELECT count(*) FROM points") == [(1,)]


def upgrade_in_a_process(file: Path, scripts: Path) -> int:
    return start_upgrade(file, scripts).wait(60)


def start_upgrade(file: Path, scripts: Path) -> subprocess.Popen[bytes]:
    code = (
        "import sys, time; from pathlib import Path; import sqlalchemy as sa; "
        "from smsweep.store.open import engine_of; from smsweep.store.open import ensure_schema; "
        "from smsweep.store.transactions import Transactions; "
        "engine = engine_of(sa.make_url('sqlite:///' + sys.argv[1])); "
        f"ensure_schema(Transactions(engine, time.sleep), newest={NEWER}, scripts=Path(sys.argv[2]))"
    )
    return subprocess.Popen([sys.executable, "-c", code, str(file), str(scripts)])
