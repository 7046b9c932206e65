"""Bring a database to the schema of this smsweep: create it, upgrade it, or refuse one from the future."""

from __future__ import annotations

import importlib
import sqlite3
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from smsweep.errors import SchemaTooNew
from smsweep.store.tables import SCHEMA, VERSION_TABLE, metadata, version
from smsweep.store.transactions import Transactions
from smsweep.util.atomic_file import replacing

# Any constant will do; all smsweeps that open one PostgreSQL database must use the same.
ADVISORY_LOCK = 0x736D7377_65657000

SCRIPTS = Path(__file__).with_name("migrations")


def ensure_schema(transactions: Transactions, *, newest: int = SCHEMA, scripts: Path = SCRIPTS) -> None:
    """Leave the schema as it is when it fits, which is one plain query; else create or upgrade it.

    Safe when several processes do it at once, or one is killed at it. An SQLite file is copied beside
    itself before it is upgraded. scripts: the folder of the migrations, the last of which leads to `newest`.
    Raises SchemaTooNew and changes nothing when a newer smsweep wrote the database.
    """
    found = transactions.read(_version)
    if found == newest:
        return
    _refuse_newer(transactions.name, found, newest)

    def create_or_upgrade(connection: sa.Connection) -> None:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(ADVISORY_LOCK)))
        found = _version(connection)  # again, now that nobody else can change it
        _refuse_newer(transactions.name, found, newest)
        if found is None:
            metadata.create_all(connection, checkfirst=False)
            connection.execute(sa.insert(version), {"version_num": f"{newest:04}"})
        elif found < newest:
            if connection.dialect.name == "sqlite":
                back_up(Path(transactions.name), found)
            # Alembic takes longer to import than everything else here: only where it has work to do.
            importlib.import_module("smsweep.store.migrations.upgrade").upgrade(connection, scripts)

    transactions.alter(create_or_upgrade)


def _version(connection: sa.Connection) -> int | None:
    """Return the schema's version; None for an empty database."""
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
    """Copy an SQLite database beside itself, as it was last committed. The copy is complete or not there."""
    copy = path.with_name(f"{path.name}.v{found}.bak")
    with (
        replacing(copy) as partial,
        closing(sqlite3.connect(path)) as source,
        closing(sqlite3.connect(partial)) as target,
    ):
        source.backup(target)
    return copy
