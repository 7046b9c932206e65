"""A failing disk below an SQLite database."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import sqlalchemy as sa

IO_ERROR, LOCKED, FULL = "disk I/O error", "database is locked", "database or disk is full"
N_STATEMENTS = 6  # of a transaction; a fault after the last one happens at the commit


class Disk:
    """Raises SQLite's errors at the statements and commits of an engine, while it is told to."""

    def __init__(self, engine: sa.Engine) -> None:
        self._text = ""
        self._n_left = 0  # errors to raise
        self._n_before = 0  # statements until the next error
        self._is_committed = False  # the error follows the commit
        dialect: Any = engine.dialect
        self._commit = dialect.do_commit
        dialect.do_commit = self._at_commit
        for name in ("do_execute", "do_executemany"):  # events of SQLAlchemy are slower
            setattr(dialect, name, partial(self._execute, getattr(dialect, name)))

    @contextmanager
    def failing(self, rng: random.Random) -> Iterator[None]:
        """Fail in the transaction of the body."""
        self._text = rng.choice([IO_ERROR, IO_ERROR, LOCKED, FULL])
        # After five attempts, the store does not wait for the lock any longer.
        self._n_left = rng.choice([1, 3, 8]) if self._text == LOCKED else 1
        self._n_before = rng.randrange(N_STATEMENTS)
        self._is_committed = self._text == IO_ERROR and rng.random() < 0.3
        try:
            yield
        finally:
            self._n_left = 0

    @contextmanager
    def working(self) -> Iterator[None]:
        """Raise no errors in the body."""
        n_left, self._n_left = self._n_left, 0
        try:
            yield
        finally:
            self._n_left = n_left

    def _execute(self, execute: Callable[..., None], *args: Any) -> None:
        if self._n_left and not self._is_committed:
            if self._n_before <= 0:
                self._fail()
            self._n_before -= 1
        execute(*args)

    def _at_commit(self, connection: Any) -> None:
        if self._n_left and not self._is_committed:
            self._fail()
        self._commit(connection)
        if self._n_left:
            self._fail()

    def _fail(self) -> None:
        self._n_left -= 1
        raise sqlite3.OperationalError(self._text)
