"""Stores of other users, and backups on read-only disks, can be read but not changed."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from smsweep.core.sweep import SweepState
from smsweep.errors import StoreUnavailable
from smsweep.store.base import Store
from smsweep.store.open import open_store
from tests.support.sweeps import a_sweep, parse_stored


def open_at(folder: Path) -> Store:
    return open_store(environ={"SMSWEEP_DIR": str(folder)}, parse=parse_stored, sleep=lambda _: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with one sweep, in a folder whose name needs quoting in a URL."""
    folder = tmp_path / "50% of #1?"
    with closing(open_at(folder)) as store:
        store.create_sweep(a_sweep())
    return folder


def test_read_only_store_is_read_and_write_raises(folder: Path, protect: Callable[[Path], None]) -> None:
    (folder / ".gitignore").unlink()  # a copy without the other files of the database
    protect(folder)
    with closing(open_at(folder)) as store:
        assert [sweep.id for sweep in store.list_sweeps()] == ["abcd1234"]
        with pytest.raises(StoreUnavailable, match=r"store\.db: it cannot be written .*; make the file and"):
            store.set_sweep_state("abcd1234", list(SweepState), SweepState.PAUSED)


def test_read_only_store_shows_later_writes_of_its_owner(folder: Path, protect: Callable[[Path], None]) -> None:
    with ExitStack() as stack:
        owner = stack.enter_context(closing(open_at(folder)))
        owner.set_sweep_state("abcd1234", list(SweepState), SweepState.PAUSED)  # from here on, these files exist
        protect(folder)
        reader = stack.enter_context(closing(open_at(folder)))
        assert reader.get_sweep("abcd1234").state is SweepState.PAUSED


def test_read_only_store_shows_changes_in_wal(folder: Path, protect: Callable[[Path], None]) -> None:
    with closing(open_at(folder)) as owner:
        owner.set_sweep_state("abcd1234", list(SweepState), SweepState.PAUSED)
        copy = folder.with_name("copy")
        copy.mkdir()
        for name in ("store.db", "store.db-wal"):
            shutil.copyfile(folder / name, copy / name)
    protect(copy)
    with pytest.raises(StoreUnavailable, match=r"store\.db: it cannot be opened .*such as a copy of it"):
        open_at(copy)


def test_read_only_store_in_other_journal_mode_is_read(folder: Path, protect: Callable[[Path], None]) -> None:
    with closing(sqlite3.connect(folder / "store.db")) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    protect(folder)
    with closing(open_at(folder)) as store:
        assert len(store.list_sweeps()) == 1
