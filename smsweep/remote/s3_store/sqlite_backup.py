"""Consistent copies of an SQLite store that other processes write to."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

from smsweep.errors import StoreDamaged
from smsweep.store.tables import VERSION_TABLE


def snapshot(source: Path, target: Path) -> None:
    """Copy the store at one moment into a new, single file.

    Args:
        source: SQLite file of the store.
        target: The new file. It is replaced if it exists.
    """
    target.unlink(missing_ok=True)
    with closing(sqlite3.connect(source)) as there, closing(sqlite3.connect(target)) as here:
        there.backup(here)
        here.execute("PRAGMA journal_mode = DELETE")


def keep_only(file: Path, sweep_ids: Collection[str]) -> None:
    """Delete all other sweeps, with their data, from a copy."""
    with closing(sqlite3.connect(file, isolation_level=None)) as copy:
        copy.execute("PRAGMA foreign_keys = ON")
        marks = ", ".join("?" * len(sweep_ids))
        copy.execute(f"DELETE FROM sweeps WHERE id NOT IN ({marks})", tuple(sweep_ids))  # noqa: S608 - only marks # nosec B608
        copy.execute("VACUUM")


def check_copy(file: Path, name: str) -> None:
    """Check that a downloaded file is a store with a sweep, before the file is opened as a store.

    Opening an empty file as a store would create tables in it.

    Args:
        file: A single SQLite file. It is not changed.
        name: Origin of the file, for the error.

    Raises:
        StoreDamaged: If the file is not a store with a sweep.
    """
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as copy:
            versions = copy.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchmany(2)  # noqa: S608 # nosec B608 - our own table
            sweeps = copy.execute("SELECT id FROM sweeps LIMIT 1").fetchall()
    except sqlite3.Error as err:
        raise StoreDamaged(f"{name}: not a store of smsweep: {err}") from err
    if len(versions) != 1 or not re.fullmatch(r"\d{1,9}", str(versions[0][0]), re.ASCII) or not sweeps:
        raise StoreDamaged(f"{name}: not a store of smsweep with a sweep")


class Changes:
    """Detects changes of a store by other connections.

    Args:
        file: SQLite file of the store.
    """

    def __init__(self, file: Path) -> None:
        self._connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)

    def version(self) -> int:
        """Return a number that changes with each transaction of other connections."""
        (number,) = self._connection.execute("PRAGMA data_version").fetchone()
        return int(number)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
