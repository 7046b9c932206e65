"""Open the store. Create its folder and schema if they are missing; upgrade an older schema."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc

from smsweep.errors import SchemaTooNew, UsageError
from smsweep.store.base import ParseStored, Store
from smsweep.store.file_locks import check_locks, database_file
from smsweep.store.home import FILE_NAME, home_dir, make_home
from smsweep.store.sql import SqlStore
from smsweep.store.tables import SCHEMA, VERSION_TABLE, metadata, version
from smsweep.store.transactions import Transactions
from smsweep.util.atomic_file import replacing
from smsweep.util.clock import utc_now

LOCK_TIMEOUT_S = 5.0  # SQLite waits so long for another writer
# PostgreSQL ends a transaction after so many idle seconds, and frees its locks: the agent is lost or frozen.
SILENCE_S = 30
# Options of libpq. With them, a server that stops answering is an error instead of an endless wait.
LIBPQ_OPTIONS = {
    "client_encoding": "utf8",  # independent of the encoding of the database
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "4",
    "tcp_user_timeout": "30000",
}
EXPECTED = (
    "the store is an SQLite file (sqlite:///FILE) or a PostgreSQL database "
    "(postgresql://USER:PASSWORD@HOST/DATABASE)"
)
SQLITE_OPTIONS = (
    "timeout",
    "cached_statements",
    "check_same_thread",
    "detect_types",
)  # with `uri`, SQLite's own options are accepted too
LIBPQ = ("postgresql+psycopg", "postgresql+psycopg2")

PRAGMAS = (
    "PRAGMA foreign_keys = ON",
    "PRAGMA journal_mode = WAL",  # readers and the writer do not block each other
    "PRAGMA synchronous = NORMAL",  # kill -9 loses nothing; a power failure can lose the last commits
)
# An arbitrary constant that all versions of smsweep must share.
ADVISORY_LOCK = 0x736D7377_65657000
SCRIPTS = Path(__file__).with_name("migrations")


def open_store(
    url: str | None = None,
    *,
    environ: Mapping[str, str],
    parse: ParseStored,
    clock: Callable[[], datetime] | None = None,
    sleep: Callable[[float], None] = time.sleep,
    read_only: bool = False,
) -> Store:
    """Open the store. Create or upgrade its schema first if needed.

    Args:
        url: An SQLAlchemy database URL. Default: SMSWEEP_STORE, or the SQLite file in SMSWEEP_DIR or ./.smsweep.
        environ: The environment variables that name the store.
        parse: Parses the sweep.yaml and job.yaml of a stored sweep.
        clock: Returns the current time for leases and timestamps. Default: the clock of the machine that has the
            store (this machine for SQLite, the server for PostgreSQL).
        sleep: Waits between retries of a transaction, in seconds.
        read_only: If True, the database refuses every write, and an SQLite file need not be writable.

    Returns:
        The store. Close it after use.

    Raises:
        StoreUnavailable: If the database cannot be reached or stays locked.
        StoreDamaged: If the database file is damaged.
        SchemaTooNew: If a newer version of smsweep upgraded the store.
        UsageError: If the URL is not valid, or if SQLite cannot lock files in the folder of a new store.
    """
    database_url = url or environ.get("SMSWEEP_STORE")
    parsed = _parse_url(database_url) if database_url else _default_url(environ)
    if parsed.get_backend_name() == "sqlite" and not database_file(parsed).exists():
        check_locks(parsed)
    engine = engine_of(parsed)
    if clock is None and engine.dialect.name == "sqlite":
        clock = utc_now
    try:
        ensure_schema(Transactions(engine, sleep))
    except BaseException:
        engine.dispose()
        raise
    if read_only:
        _forbid_writes(engine)
    return SqlStore(engine, clock=clock, parse=parse, sleep=sleep)


def _default_url(environ: Mapping[str, str]) -> sa.URL:
    folder = home_dir(environ)
    if not (folder / FILE_NAME).exists():  # an existing store may belong to another user, or be a backup
        make_home(environ)
    return sa.URL.create("sqlite", database=str(folder / FILE_NAME))


def store_file(environ: Mapping[str, str]) -> Path | None:
    """Return the SQLite file of the store, which may not exist yet; None for PostgreSQL.

    Raises:
        UsageError: If SMSWEEP_STORE is not a valid URL.
    """
    database_url = environ.get("SMSWEEP_STORE")
    if not database_url:
        return home_dir(environ) / FILE_NAME
    url = _parse_url(database_url)
    return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None


def _parse_url(text: str) -> sa.URL:
    try:
        url = sa.make_url(text)
        kind = url.get_backend_name()
    except (exc.ArgumentError, ValueError):
        # The message and its cause must not contain the text, which may have a password.
        raise UsageError(f"SMSWEEP_STORE: the value is not a database URL; {EXPECTED}") from None
    if url.drivername in ("postgres", "postgresql"):
        url, kind = url.set(drivername="postgresql+psycopg"), "postgresql"
    if kind not in ("sqlite", "postgresql"):
        raise UsageError(f"SMSWEEP_STORE: {kind} is not supported; {EXPECTED}")
    if kind == "sqlite" and url.database in (None, "", ":memory:"):
        raise UsageError(
            f"SMSWEEP_STORE: the URL names no file, so no other command can find the store; {EXPECTED}"
        )
    if kind == "sqlite":
        if url.get_driver_name() != "pysqlite":
            raise UsageError(f"SMSWEEP_STORE: {url.drivername} is not supported; {EXPECTED}")
        unknown = [name for name in url.query if name not in SQLITE_OPTIONS]
        if unknown and "uri" not in url.query:
            raise UsageError(f"SMSWEEP_STORE: `?{unknown[0]}=` is not an option of an SQLite file; {EXPECTED}")
    if "@" in (url.host or ""):
        raise UsageError(f"SMSWEEP_STORE: write each @ of its user or password as %40; {EXPECTED}")
    return url


def engine_of(url: sa.URL) -> sa.Engine:
    """Return an engine with the settings of the store. It connects at its first use."""
    if url.get_backend_name() != "sqlite":
        try:
            known = LIBPQ_OPTIONS if url.drivername in LIBPQ else {}
            options: dict[str, Any] = {name: value for name, value in known.items() if name not in url.query}
            if url.get_driver_name() == "psycopg":
                options["prepare_threshold"] = (
                    None  # behind a pooler, the next session does not have the prepared statement
                )
            server = sa.create_engine(url, max_overflow=-1, connect_args=options)
        except ModuleNotFoundError as err:
            other = "" if err.name == "psycopg" else "write postgresql:// for smsweep's own, and "
            fix = f"{other}run: pip install 'smsweep[postgres]'"
            raise UsageError(f"SMSWEEP_STORE: the driver {err.name} is not installed; {fix}") from err
        except exc.NoSuchModuleError as err:
            raise UsageError(f"SMSWEEP_STORE: the driver {url.drivername} does not exist; {EXPECTED}") from err
        event.listen(server, "connect", _prepare_postgres)
        return server
    if "timeout" not in url.query:
        url = url.update_query_dict({"timeout": str(LOCK_TIMEOUT_S)})
    is_writable = "uri" in url.query or _is_writable(Path(str(url.database)))
    # One connection per thread without a limit; for a read-only file, one per transaction (see _connect_to_read).
    pool: dict[str, Any] = {"max_overflow": -1} if is_writable else {"poolclass": sa.NullPool}
    # Autocommit in the driver: transactions.py sends the right kind of BEGIN.
    try:
        engine = sa.create_engine(url, connect_args={"isolation_level": None}, **pool)
    except ValueError as err:
        raise UsageError(f"SMSWEEP_STORE: an option after the `?` is not valid ({err}); {EXPECTED}") from err
    if is_writable:
        event.listen(engine, "connect", _prepare_sqlite)
    else:
        event.listen(engine, "do_connect", _connect_to_read)
    return engine


def _is_writable(file: Path) -> bool:
    """Return True if SQLite can write a file, and create files next to it. A new file counts as writable."""
    return not file.is_file() or (os.access(file, os.W_OK) and os.access(file.parent, os.W_OK))


def _connect_to_read(_: object, __: object, names: list[str], options: dict[str, Any]) -> None:
    """Open a file that this process cannot write. SQLAlchemy calls this for each transaction.

    If another process writes the file, its WAL file is next to it, and SQLite reads both. Without a WAL file,
    SQLite tries to create one, unless the file is opened as immutable.
    """
    log = Path(f"{names[0]}-wal")
    immutable = "" if log.exists() and log.stat().st_size else "&immutable=1"
    names[0] = f"{Path(names[0]).absolute().as_uri()}?mode=ro{immutable}"
    options["uri"] = True


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    for pragma in PRAGMAS:
        connection.execute(pragma)


def _prepare_postgres(connection: sa.PoolProxiedConnection, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute(f"SET idle_in_transaction_session_timeout = '{SILENCE_S}s'")
    cursor.close()
    connection.commit()


def _forbid_writes(engine: sa.Engine) -> None:
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _read_only_sqlite)
        engine.dispose()  # new connections run the listener
    else:
        # For each transaction, not for the session: behind a pooler, an agent may get the session next.
        engine.update_execution_options(postgresql_readonly=True)


def _read_only_sqlite(connection: sqlite3.Connection, _: object) -> None:
    connection.execute("PRAGMA query_only = ON")


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
    current = transactions.read(_version)
    if current == newest:
        return
    _refuse_newer(transactions.name, current, newest)

    def create_or_upgrade(connection: sa.Connection) -> None:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(ADVISORY_LOCK)))
        stored = _version(connection)  # read it again, now that this transaction has the lock
        _refuse_newer(transactions.name, stored, newest)
        if stored is None:
            metadata.create_all(connection, checkfirst=False)
            connection.execute(sa.insert(version), {"version_num": f"{newest:04}"})
        elif stored < newest:
            if connection.dialect.name == "sqlite":
                back_up(Path(transactions.name), stored)
            from smsweep.store.migrations import upgrade  # Alembic is slow to import

            upgrade(connection, scripts)

    transactions.alter(create_or_upgrade)


def _version(connection: sa.Connection) -> int | None:
    """Return the version of the schema; None for an empty database."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    return int(connection.execute(sa.select(version.c.version_num)).scalar_one())


def _refuse_newer(name: str, current: int | None, newest: int) -> None:
    if current is not None and current > newest:
        raise SchemaTooNew(
            f"{name}: a newer smsweep wrote this store: its schema has version {current}, this smsweep knows "
            f"versions up to {newest}; upgrade smsweep, or set SMSWEEP_DIR to another folder"
        )


def back_up(path: Path, schema: int) -> Path:
    """Copy the committed state of an SQLite database to a file next to it.

    Args:
        path: The database.
        schema: The version of its schema, which is part of the name of the copy.

    Returns:
        The copy.
    """
    copy = path.with_name(f"{path.name}.v{schema}.bak")
    with (
        replacing(copy) as partial,
        closing(sqlite3.connect(path)) as source,
        closing(sqlite3.connect(partial)) as target,
    ):
        source.backup(target)
    return copy
