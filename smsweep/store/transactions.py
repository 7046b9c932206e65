"""Transactions, with retries while another process blocks them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy import event, exc

from smsweep.store.db_errors import is_transient, name_of, translate

P = ParamSpec("P")
R = TypeVar("R")

BACKOFF_S = (0.05, 0.2, 0.8, 2.0)  # pauses between attempts; the database itself also waits for locks


class Transactions:
    """Runs functions that take a connection, each in one transaction.

    A function can run more than once, so it must change only the database.

    Args:
        engine: The database.
        sleep: Waits between attempts, in seconds.
    """

    def __init__(self, engine: sa.Engine, sleep: Callable[[float], None]) -> None:
        self.name = name_of(engine.url)  # of the database, for messages
        self._engine = engine
        self._sleep = sleep
        if engine.dialect.name == "sqlite":
            event.listen(engine, "begin", _begin)
            self._reader = engine
            self._writer = engine.execution_options(smsweep_work="write")
            self._alterer = engine.execution_options(smsweep_work="alter")
        else:
            # All statements of a read see the same snapshot. Writers lock the rows that they read instead.
            self._reader = engine.execution_options(isolation_level="REPEATABLE READ")
            self._writer = engine.execution_options(isolation_level="READ COMMITTED")
            self._alterer = self._writer

    def read(self, work: Callable[[sa.Connection], R]) -> R:
        """Run a function that only reads."""
        return self._run(self._reader, work)

    def write(self, work: Callable[[sa.Connection], R]) -> R:
        """Run a function that can write."""
        return self._run(self._writer, work)

    def alter(self, work: Callable[[sa.Connection], R]) -> R:
        """Run a function that can alter tables. SQLite does not check foreign keys meanwhile."""
        try:
            return self._run(self._alterer, work)
        finally:
            self._engine.dispose()  # new connections check foreign keys again

    def close(self) -> None:
        self._engine.dispose()

    def _run(self, engine: sa.Engine, work: Callable[[sa.Connection], R]) -> R:
        delays_s = iter(BACKOFF_S)
        while True:
            may_be_done = False
            try:
                with engine.begin() as connection:
                    result = work(connection)
                    may_be_done = engine is not self._reader  # a commit without an answer may have succeeded
                return result
            except exc.DBAPIError as err:
                delay_s = next(delays_s, None)
                if delay_s is None or not is_transient(err, may_be_done=may_be_done):
                    raise translate(err, engine.url) from err
                self._sleep(delay_s)
            except exc.StatementError as err:
                raise err.orig or err from None  # the caller passed a value that the column cannot store
            except exc.SQLAlchemyError as err:
                raise translate(err, engine.url) from err


def _begin(connection: sa.Connection) -> None:
    """Take SQLite's write lock at the begin. A transaction that reads first can fail when it needs the lock."""
    work = connection.get_execution_options().get("smsweep_work")
    if work == "alter":
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")  # has no effect inside a transaction
    connection.exec_driver_sql("BEGIN IMMEDIATE" if work else "BEGIN")


class Transactional(Protocol):
    transactions: Transactions


S = TypeVar("S", bound=Transactional)


def reads(method: Callable[Concatenate[S, sa.Connection, P], R]) -> Callable[Concatenate[S, P], R]:
    """Run a method in a transaction that reads one snapshot."""

    @functools.wraps(method)
    def run(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.transactions.read(lambda connection: method(self, connection, *args, **kwargs))

    return run


def writes(method: Callable[Concatenate[S, sa.Connection, P], R]) -> Callable[Concatenate[S, P], R]:
    """Run a method in a transaction that commits when it returns, and rolls back when it raises."""

    @functools.wraps(method)
    def run(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.transactions.write(lambda connection: method(self, connection, *args, **kwargs))

    return run
