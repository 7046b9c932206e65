"""Whole copies of an SQLite store, taken while others write to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from contextlib import closing
from pathlib import Path


def snapshot(source: Path, target: Path) -> None:
    """Copy the store as it is at one moment into a new file, which needs no other beside it."""
    target.unlink(missing_ok=True)
    with closing(sqlite3.connect(source)) as there, closing(sqlite3.connect(target)) as here:
        there.backup(here)
        here.execute("PRAGMA journal_mode = DELETE")


def keep_only(file: Path, sweep_ids: Collection[str]) -> None:
    """Take all other sweeps out of a copy, with everything that is theirs."""
    with closing(sqlite3.connect(file, isolation_level=None)) as copy:
        copy.execute("PRAGMA foreign_keys = ON")
        marks = ", ".join("?" * len(sweep_ids))
        copy.execute(f"DELETE FROM sweeps WHERE id NOT IN ({marks})", tuple(sweep_ids))  # noqa: S608 - only marks # nosec B608
        copy.execute("VACUUM")


class Changes:
    """Tells whether anybody else has written to a store since the last look."""

    def __init__(self, file: Path) -> None:
        self._connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)

    def version(self) -> int:
        """Return a number that is another one after each transaction of others."""
        (number,) = self._connection.execute("PRAGMA data_version").fetchone()
        return int(number)

    def close(self) -> None:
        self._connection.close()
