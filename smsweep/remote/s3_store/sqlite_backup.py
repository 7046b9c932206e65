"""Whole copies of an SQLite store, taken while others write to it."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

from smsweep.errors import StoreDamaged
from smsweep.store.tables import VERSION_TABLE


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


def check_copy(file: Path, name: str) -> None:
    """Check that a file from elsewhere is a store with a sweep in it, before it is opened as one.

    Opening it would make a store of an empty file.

    Args:
        file: An SQLite file without others beside it. It is not changed.
        name: Where it is from, for the error.

    Raises:
        StoreDamaged: If it is not such a store.
    """
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as copy:
            versions = copy.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchmany(2)  # noqa: S608 # nosec B608 - our own table
            sweeps = copy.execute("SELECT id FROM sweeps LIMIT 1").fetchall()
    except sqlite3.Error as err:
        raise StoreDamaged(f"{name}: it is not a store of smsweep: {err}") from err
    if len(versions) != 1 or not re.fullmatch(r"\d{1,9}", str(versions[0][0]), re.ASCII) or not sweeps:
        raise StoreDamaged(f"{name}: it is not a store of smsweep with a sweep in it")


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
