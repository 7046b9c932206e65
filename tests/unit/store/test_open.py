"""Location and creation of the store, and errors when it cannot be opened."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from smsweep.core.job import JobTemplate
from smsweep.core.sweep import SweepConfig
from smsweep.errors import StoreDamaged, StoreUnavailable, UsageError
from smsweep.store.open import open_store
from smsweep.store.transactions import BACKOFF_S
from tests.support.sweeps import a_sweep, parse_stored

PASSWORD = "tops3cret"


def open_at(folder: Path, **environ: str) -> None:
    open_store(environ={"SMSWEEP_DIR": str(folder)} | environ, parse=parse_stored).close()


def file_with(folder: Path, content: bytes) -> Path:
    folder.mkdir()
    (folder / "store.db").write_bytes(content)
    return folder


def test_default_store_is_in_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_store(environ={}, parse=parse_stored).close()
    assert (tmp_path / ".smsweep/store.db").is_file()


def test_store_does_not_move_with_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store(environ={}, parse=parse_stored)
    store.create_sweep(a_sweep())
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert [s.id for s in store.list_sweeps()] == ["abcd1234"]
    store.close()


def test_store_folder_is_private_and_ignored_by_git(tmp_path: Path) -> None:
    open_at(tmp_path / "a/b")
    assert stat.S_IMODE((tmp_path / "a/b").stat().st_mode) == 0o700
    assert (tmp_path / "a/b/.gitignore").read_text() == "*\n"


def test_smsweep_store_has_precedence_over_smsweep_dir(tmp_path: Path) -> None:
    open_at(tmp_path / "unused", SMSWEEP_STORE=f"sqlite:///{tmp_path / 'x.db'}")
    assert [path.name for path in tmp_path.iterdir()] == ["x.db"]


def test_url_argument_has_precedence_over_environment(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'given.db'}"
    open_store(url, environ={"SMSWEEP_STORE": "nonsense"}, parse=parse_stored).close()
    assert (tmp_path / "given.db").is_file()


def test_stored_sweep_can_be_read_after_reopening(tmp_path: Path) -> None:
    environ = {"SMSWEEP_DIR": str(tmp_path)}
    with closing(open_store(environ=environ, parse=parse_stored)) as store:
        created = store.create_sweep(a_sweep())
    with closing(open_store(environ=environ, parse=parse_stored)) as store:
        assert store.get_sweep("abcd1234") == created


def test_texts_of_a_sweep_are_parsed_once(tmp_path: Path) -> None:
    parsed = []

    def parse(sweep_yaml: str, job_yaml: str) -> tuple[SweepConfig, JobTemplate]:
        parsed.append((sweep_yaml, job_yaml))
        return parse_stored(sweep_yaml, job_yaml)

    with closing(open_store(environ={"SMSWEEP_DIR": str(tmp_path)}, parse=parse)) as store:
        store.create_sweep(replace(a_sweep(), job_yaml="role: x\n"))
        store.get_sweep("abcd1234"), store.list_sweeps(), store.get_sweep("abcd1234")
    assert parsed == [("method: random\n", "role: x\n")]


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "/some/file.db",
        f"mysql://u:{PASSWORD}@h/d",
        f"postgresql:/u:{PASSWORD}@h/d",
        f"postgresql://u:{PASSWORD}@h:port/d",
        f"postgresql://u:{PASSWORD}@[::1/d",
        f"postgresql://u:to@{PASSWORD}@h/d",
        f"postgresql+nothing://u:{PASSWORD}@h/d",
        "sqlite://",
        "sqlite:///:memory:",
    ],
)
def test_invalid_url_raises_with_an_example(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match="postgresql://USER:PASSWORD@HOST/DATABASE") as caught:
        open_at(tmp_path, SMSWEEP_STORE=url)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"postgresql://me:{PASSWORD}@127.0.0.1:9/db", "postgresql+psycopg://me:***@127.0.0.1:9/db:"),
        (f"postgresql://me@127.0.0.1:9/db?password={PASSWORD}", "postgresql+psycopg://me@127.0.0.1:9/db:"),
    ],
)
def test_password_is_never_shown(tmp_path: Path, url: str, shown: str) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        open_at(tmp_path, SMSWEEP_STORE=url)
    assert shown in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_file_that_is_not_a_database_is_not_changed(tmp_path: Path) -> None:
    folder = file_with(tmp_path / "x", b"not a database, but long enough to look at" * 50)
    before = (folder / "store.db").read_bytes()
    with pytest.raises(StoreDamaged, match=r"store\.db: it is not an SQLite database .*; move it away"):
        open_at(folder)
    assert (folder / "store.db").read_bytes() == before


def test_damaged_database_raises_store_damaged(tmp_path: Path) -> None:
    open_at(tmp_path)
    file = tmp_path / "store.db"
    file.write_bytes(file.read_bytes()[:4096] + b"\xff" * (file.stat().st_size - 4096))
    with pytest.raises(StoreDamaged, match=r"store\.db: the database file is damaged .*; stop all agents"):
        open_at(tmp_path)


def test_store_without_a_table_raises_store_damaged(tmp_path: Path) -> None:
    with closing(open_store(environ={"SMSWEEP_DIR": str(tmp_path)}, parse=parse_stored)) as store:
        with closing(sqlite3.connect(tmp_path / "store.db")) as other:
            other.execute("DROP TABLE sweeps")
        with pytest.raises(StoreDamaged, match=r"store\.db: a table of the store is gone .*; stop all agents"):
            store.list_sweeps()


def test_empty_file_becomes_store(tmp_path: Path) -> None:
    open_at(file_with(tmp_path / "x", b""))


def test_folder_that_cannot_be_created_is_named_with_the_cause(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"file/x: .*\(Not a directory\); set SMSWEEP_DIR"):
        open_at(tmp_path / "file" / "x")


def test_file_that_cannot_be_opened_is_named_with_a_fix(tmp_path: Path) -> None:
    (tmp_path / "store.db").mkdir()
    with pytest.raises(StoreUnavailable, match=r"store\.db: it cannot be opened or created .*; make sure"):
        open_at(tmp_path)


def test_locked_store_is_retried_with_growing_pauses(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}?timeout=0.01"
    slept: list[float] = []
    with closing(open_store(url, environ={}, parse=parse_stored, sleep=slept.append)) as store:
        with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable, match=r"store\.db: another process keeps it locked"):
                store.create_sweep(a_sweep())
            assert store.list_sweeps() == []  # readers do not wait
        assert slept == list(BACKOFF_S)
        store.create_sweep(a_sweep())


def test_lock_that_is_released_in_time_raises_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}?timeout=0.01"
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as other:
        store = open_store(url, environ={}, parse=parse_stored, sleep=lambda _: other.rollback())
        other.execute("BEGIN IMMEDIATE")
        store.create_sweep(a_sweep())
        store.close()


def test_full_disk_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    with closing(open_store(environ={"SMSWEEP_DIR": str(tmp_path)}, parse=parse_stored)) as store:
        store.create_sweep(a_sweep())
        limit_pages(store, 40)
        with pytest.raises(StoreUnavailable, match=r"the disk is full .*; free some space"):
            store.add_trials("abcd1234", 0, [{"text": "x" * 100_000} for _ in range(10)])
        assert store.list_trials("abcd1234") == []
        assert store.add_trials("abcd1234", 0, [{"lr": 1}])[0].number == 0


def limit_pages(store: object, n: int) -> None:
    """Limit the size of the store's open database to n pages, like a full disk."""
    transactions = store.transactions  # type: ignore[attr-defined]  # only SQL stores have them
    transactions.read(lambda connection: connection.execute(sa.text(f"PRAGMA max_page_count = {n}")))


def test_opening_an_existing_store_takes_less_than_30_ms_of_cpu(tmp_path: Path) -> None:
    open_at(tmp_path)
    taken = []
    for _ in range(5):
        start = time.process_time()
        open_at(tmp_path)
        taken.append(time.process_time() - start)
    assert min(taken) < 0.03


def test_alembic_is_imported_only_for_upgrades(tmp_path: Path) -> None:
    code = (
        "import sys; from smsweep.store.open import open_store; "
        f"open_store('sqlite:///{tmp_path / 'x.db'}', environ={{}}, parse=lambda *_: None).close(); "
        "print('alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
