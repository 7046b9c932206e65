"""Transactions: all or nothing, tried again for a while when another process is in the way."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy import event, exc

from smsweep.store.db_errors import is_transient, name_of, translate

P = ParamSpec("P")
R = TypeVar("R")

BACKOFF_S = (0.05, 0.2, 0.8, 2.0)  # on top of the seconds that the database itself waits for a lock


class Transactions:
    """Runs functions of a connection, each in one transaction.

    A function may run more than once, so it must have no other effect than on the database.
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
            # All statements of a read see the same moment; writers lock the rows they read instead.
            self._reader = engine.execution_options(isolation_level="REPEATABLE READ")
            self._writer = engine.execution_options(isolation_level="READ COMMITTED")
            self._alterer = self._writer

    def read(self, work: Callable[[sa.Connection], R]) -> R:
        return self._run(self._reader, work)

    def write(self, work: Callable[[sa.Connection], R]) -> R:
        return self._run(self._writer, work)

    def alter(self, work: Callable[[sa.Connection], R]) -> R:
        """Write, with leave to alter tables: what refers to a table that SQLite copies and drops stays."""
        try:
            return self._run(self._alterer, work)
        finally:
            self._engine.dispose()  # its next connections mind foreign keys again

    def close(self) -> None:
        self._engine.dispose()

    def _run(self, engine: sa.Engine, work: Callable[[sa.Connection], R]) -> R:
        delays_s = iter(BACKOFF_S)
        while True:
            may_be_done = False
            try:
                with engine.begin() as connection:
                    result = work(connection)
                    may_be_done = engine is not self._reader  # a commit that got no answer may have happened
                return result
            except exc.DBAPIError as err:
                delay_s = next(delays_s, None)
                if delay_s is None or not is_transient(err, may_be_done=may_be_done):
                    raise translate(err, engine.url) from err
                self._sleep(delay_s)
            except exc.StatementError as err:
                raise err.orig or err from None  # a value that its column cannot hold: the caller's mistake
            except exc.SQLAlchemyError as err:
                raise translate(err, engine.url) from err


def _begin(connection: sa.Connection) -> None:
    """Take SQLite's write lock at once: a transaction that first reads would lose it to another and fail."""
    work = connection.get_execution_options().get("smsweep_work")
    if work == "alter":
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")  # has no effect once a transaction began
    connection.exec_driver_sql("BEGIN IMMEDIATE" if work else "BEGIN")


class Transactional(Protocol):
    transactions: Transactions


S = TypeVar("S", bound=Transactional)


def reads(method: Callable[Concatenate[S, sa.Connection, P], R]) -> Callable[Concatenate[S, P], R]:
    """Run a method in a transaction that sees one moment and changes nothing."""

    @functools.wraps(method)
    def run(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.transactions.read(lambda connection: method(self, connection, *args, **kwargs))

    return run


def writes(method: Callable[Concatenate[S, sa.Connection, P], R]) -> Callable[Concatenate[S, P], R]:
    """Run a method in a transaction that commits when it returns and leaves no trace when it raises."""

    @functools.wraps(method)
    def run(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.transactions.write(lambda connection: method(self, connection, *args, **kwargs))

    return run
