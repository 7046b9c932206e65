"""Create or upgrade the schema of a database, and refuse a schema of a newer smsweep."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from smsweep.errors import SchemaTooNew
from smsweep.store.tables import SCHEMA, VERSION_TABLE, metadata, version
from smsweep.store.transactions import Transactions
from smsweep.util.atomic_file import replacing

# An arbitrary constant that all versions of smsweep must share.
ADVISORY_LOCK = 0x736D7377_65657000

SCRIPTS = Path(__file__).with_name("migrations")


def ensure_schema(transactions: Transactions, *, newest: int = SCHEMA, scripts: Path = SCRIPTS) -> None:
    """Create or upgrade the schema if needed. If it is current, this is one query.

    Several processes can call this at the same time, and each can be killed at any time. An SQLite file is
    copied before it is upgraded.

    Args:
        transactions: The database.
        newest: The version of the schema after the last migration.
        scripts: The folder of the migrations.

    Raises:
        SchemaTooNew: If a newer smsweep wrote the database. Nothing is changed.
    """
    found = transactions.read(_version)
    if found == newest:
        return
    _refuse_newer(transactions.name, found, newest)

    def create_or_upgrade(connection: sa.Connection) -> None:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(ADVISORY_LOCK)))
        found = _version(connection)  # read it again, now that this transaction has the lock
        _refuse_newer(transactions.name, found, newest)
        if found is None:
            metadata.create_all(connection, checkfirst=False)
            connection.execute(sa.insert(version), {"version_num": f"{newest:04}"})
        elif found < newest:
            if connection.dialect.name == "sqlite":
                back_up(Path(transactions.name), found)
            from smsweep.store.migrations.upgrade import upgrade  # Alembic is slow to import

            upgrade(connection, scripts)

    transactions.alter(create_or_upgrade)


def _version(connection: sa.Connection) -> int | None:
    """Return the version of the schema; None for an empty database."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    return int(connection.execute(sa.select(version.c.version_num)).scalar_one())


def _refuse_newer(name: str, found: int | None, newest: int) -> None:
    if found is not None and found > newest:
        raise SchemaTooNew(
            f"{name}: a newer smsweep wrote this store: its schema has version {found}, this smsweep knows "
            f"versions up to {newest}; upgrade smsweep, or set SMSWEEP_DIR to another folder"
        )


def back_up(path: Path, found: int) -> Path:
    """Copy the committed state of an SQLite database to a file next to it.

    Args:
        path: The database.
        found: The version of its schema, which is part of the name of the copy.

    Returns:
        The copy.
    """
    copy = path.with_name(f"{path.name}.v{found}.bak")
    with (
        replacing(copy) as partial,
        closing(sqlite3.connect(path)) as source,
        closing(sqlite3.connect(partial)) as target,
    ):
        source.backup(target)
    return copy
