"""Messages for database errors: the cause, and how to fix it."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import exc

from smsweep.errors import StoreDamaged, StoreDown, StoreError, StoreUnavailable

START = "start the server, or correct host and port in SMSWEEP_STORE"
REACH = "check the network, or correct host and port in SMSWEEP_STORE"

# (part of the driver's message, cause, fix). The first match counts.
DAMAGED = (
    (
        "file is not a database",
        "it is not an SQLite database",
        "move it away, or set SMSWEEP_DIR to another folder",
    ),
    (
        "malformed",
        "the database file is damaged",
        "stop all agents, move it away, and restore a backup, try `sqlite3 FILE .recover`, or have "
        "`smsweep recover` rebuild each sweep from its jobs",
    ),
    (
        "no such table",
        "a table of the store is gone",
        "stop all agents, and restore a backup, or set SMSWEEP_DIR to another folder",
    ),
)
# Errors that can disappear without a change of SMSWEEP_STORE.
DOWN = (
    (
        "locked",
        "another process keeps it locked",
        "wait for it or end it, then try again; a network drive cannot lock SQLite files: "
        "for several machines set SMSWEEP_STORE to a PostgreSQL URL",
    ),
    ("too many", "the server has no connection left", "raise its limit of connections, or end some agents"),
    ("connection slots", "the server has no connection left", "raise max_connections, or end some agents"),
    ("the database system is ", "the server is starting or stopping", "try again in a moment"),
    ("connection refused", "no server answers there", START),
    ("is the server running", "no server answers there", START),
    ("timeout expired", "the server does not answer", REACH),
    ("timed out", "the server does not answer", REACH),
    ("unreachable", "the network does not lead to the server", REACH),
    ("no route to host", "the network does not lead to the server", REACH),
    ("host is down", "the network does not lead to the server", REACH),
    ("temporary failure in name resolution", "no name server answers", REACH),
    ("connection reset", "the server ended the connection", START),
    ("server closed the connection", "the server ended the connection", START),
    ("closed unexpectedly", "the server ended the connection", START),
    ("terminating connection", "the server ended the connection", START),
    ("server login has been failing", "the pooler does not reach the server", START),
)
UNAVAILABLE = (
    ("is full", "the disk is full", "free some space, then try again; running jobs are not affected"),
    ("disk i/o error", "the disk failed or is full", "check its free space and its health, then try again"),
    ("readonly", "it cannot be written", "make the file and its folder writable, or set SMSWEEP_DIR to another"),
    (
        "unable to open database file",
        "it cannot be opened or created",
        "make sure that its folder exists and is writable, or set SMSWEEP_DIR to another, such as a copy of it",
    ),
    ("already exists", "it holds tables of another program", "give smsweep a database or schema of its own"),
    ("password", "the server refused the login", "check user and password in SMSWEEP_STORE"),
    (
        "permission denied",
        "the server refused the access",
        "grant the user its tables and the right to create them",
    ),
    (
        "no schema has been selected",
        "no schema of its search_path exists",
        "create the one that SMSWEEP_STORE names (CREATE SCHEMA), or correct the name",
    ),
    ("read-only transaction", "it is a copy that cannot be written", "name the primary server in SMSWEEP_STORE"),
    (
        "no equivalent in encoding",
        "the database's encoding lacks a character",
        "create a database with ENCODING 'UTF8', and set SMSWEEP_STORE to it",
    ),
    ("does not exist", "the server does not know what was asked for", "check the names in SMSWEEP_STORE"),
)
UNKNOWN = ("the database did not answer as it should", "check that it is running and reachable, then try again")

SECRET_OPTIONS = ("password", "sslpassword")  # options of libpq that a URL can have after its question mark

# Messages of PostgreSQL while it restarts. SQLAlchemy does not recognize them as a lost connection.
GONE = ("server closed the connection", "terminating connection", "the database system is ")

# Serialization failure, deadlock, lock not available: a retry can succeed.
TRANSIENT_SQLSTATES = frozenset({"40001", "40P01", "55P03"})


def name_of(url: sa.URL) -> str:
    """Return the file of an SQLite database, or the URL of another database without its password."""
    if url.get_backend_name() == "sqlite":
        return url.database or "SQLite in memory"
    return url.difference_update_query(SECRET_OPTIONS).render_as_string(hide_password=True)


def has_password(url: sa.URL) -> bool:
    """Return True if a URL contains a password."""
    return bool(url.password) or any(word in url.query for word in SECRET_OPTIONS)


def is_transient(err: exc.DBAPIError, *, may_be_done: bool) -> bool:
    """Return True if a transaction changed nothing and a retry can succeed.

    Args:
        err: The error of the transaction.
        may_be_done: True if the commit was sent, so that the transaction may have succeeded.
    """
    if err.connection_invalidated or any(words in str(err.orig) for words in GONE):
        return not may_be_done
    return "locked" in str(err.orig) or getattr(err.orig, "sqlstate", None) in TRANSIENT_SQLSTATES


def translate(err: exc.SQLAlchemyError, url: sa.URL) -> StoreError:
    """Return the store error for a database error, with the cause and the fix."""
    message = " ".join(str(getattr(err, "orig", None) or err).split())
    for kind, causes in ((StoreDamaged, DAMAGED), (StoreUnavailable, UNAVAILABLE), (StoreDown, DOWN)):
        for needle, cause, fix in causes:
            if needle in message.lower():
                return kind(f"{name_of(url)}: {cause} ({message}); {fix}")
    cause, fix = UNKNOWN
    return StoreUnavailable(f"{name_of(url)}: {cause} ({message}); {fix}")
