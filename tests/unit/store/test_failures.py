"""Errors of database drivers: temporary errors, and errors that the user must fix."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy import exc

from smsweep.errors import StoreDown, StoreUnavailable
from smsweep.store.db_errors import translate

URL = sa.make_url("postgresql+psycopg://me:secret@db/sweeps")
PASSES = (
    'connection failed: connection to server at "127.0.0.1", port 5432 failed: Connection refused',
    'connection to server on socket "/run/.s.PGSQL.5432" failed: No such file or directory Is the server running',
    "FATAL:  the database system is starting up",
    "FATAL:  the database system is in recovery mode",
    "connection timeout expired",
    'connection to server at "10.0.0.1", port 5432 failed: Connection timed out',
    'connection to server at "10.0.0.1", port 5432 failed: No route to host',
    'connection to server at "10.0.0.1", port 5432 failed: Network is unreachable',
    "failed to resolve host 'db': [Errno -3] Temporary failure in name resolution",
    "FATAL:  sorry, too many clients already",
    "FATAL:  remaining connection slots are reserved for non-replication superuser connections",
    "server closed the connection unexpectedly",
    "consuming input failed: SSL connection has been closed unexpectedly",
    "terminating connection due to administrator command",
    "database is locked",
)
STAYS = (
    'FATAL:  password authentication failed for user "me"',
    "connection to server failed: fe_sendauth: no password supplied",
    "failed to resolve host 'dbb': [Errno -2] Name or service not known",
    'FATAL:  database "sweeeps" does not exist',
    'FATAL:  role "mee" does not exist',
    "FATAL:  permission denied for database",
    'FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "me"',
    'connection to server at "db", port 5432 failed: root certificate file "/x" does not exist',
    "multiple attempts failed: db1: Connection refused; db2: password authentication failed",
    "disk I/O error",
    "unable to open database file",
)


def translated(message: str) -> StoreUnavailable:
    err = translate(exc.OperationalError("SELECT 1", {}, Exception(message)), URL)
    assert isinstance(err, StoreUnavailable)
    assert "me:secret" not in str(err)
    return err


@pytest.mark.parametrize("message", PASSES)
def test_temporary_database_errors_are_store_down(message: str) -> None:
    assert isinstance(translated(message), StoreDown)


@pytest.mark.parametrize("message", STAYS)
def test_errors_that_the_user_must_fix_are_not_store_down(message: str) -> None:
    assert not isinstance(translated(message), StoreDown)
