"""A backend for an agent far away: what it knows is safe in S3 before anything is done, and orders reach it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Any

from smsweep.backends.base import Backend
from smsweep.core.job import JobStatus, LogPage, TrainingJobRequest
from smsweep.engine.shutdown import HandedOver
from smsweep.errors import SmsweepError
from smsweep.remote.s3_store.s3_object import Shelf
from smsweep.remote.s3_store.save_interval import KEY, save_interval
from smsweep.remote.s3_store.writer import Writer

log = logging.getLogger(__name__)

LOOK = timedelta(seconds=2)  # between two looks for orders
SIGN = timedelta(seconds=10)  # between two signs of life


class GuardedBackend:
    """Saves before each job is started or ended: after a kill -9 the next agent knows of it.

    Other news are saved at intervals that grow with the store: see `intervals`.

    sign: what a sign of life says. is_over: tells when this agent's own job ends soon, and sees to a successor.
    """

    def __init__(
        self,
        backend: Backend,
        writer: Writer,
        shelf: Shelf,
        clock: Callable[[], datetime],
        sign: dict[str, Any],
        is_over: Callable[[], bool],
    ) -> None:
        self._backend = backend
        self._writer = writer
        self._shelf = shelf
        self._clock = clock
        self._sign = sign
        self._is_over = is_over
        self._looked_at = self._signed_at = self._saved_at = clock() - SIGN
        self._told = ""

    @property
    def place(self) -> str:
        return self._backend.place

    def submit(self, request: TrainingJobRequest) -> None:
        self._save_first()
        self._backend.submit(request)

    def describe(self, names: Collection[str]) -> dict[str, JobStatus]:
        return self._backend.describe(names)

    def stop(self, name: str, *, grace_s: float | None = None) -> None:
        self._save_first()
        self._backend.stop(name, grace_s=grace_s)

    def read_logs(self, name: str, cursor: str = "") -> LogPage:
        return self._backend.read_logs(name, cursor)

    def forget(self, name: str) -> None:
        self._save_first()
        self._backend.forget(name)

    def wait(self, timeout_s: float) -> None:
        """Rest, after a look at the world. Raises HandedOver, or Superseded."""
        if self._is_over():
            raise HandedOver(0)
        now = self._clock()
        if now - self._looked_at >= LOOK or now < self._looked_at:
            self._looked_at = now
            try:
                self._writer.obey()
                if now - self._saved_at >= save_interval(self._writer.n_bytes) or now < self._saved_at:
                    self._save(now)
                self._say_alive(now)
                self._told = ""
            except SmsweepError as err:
                if not err.retryable:
                    raise
                if str(err) != self._told:
                    log.warning("%s; trying again", err)
                self._told = str(err)
        self._backend.wait(timeout_s)

    def close(self) -> None:
        self._backend.close()

    def _say_alive(self, now: datetime) -> None:
        if now - self._signed_at >= SIGN or now < self._signed_at:
            interval_s = save_interval(self._writer.n_bytes).total_seconds()
            self._shelf.say_alive({**self._sign, KEY: interval_s})
            self._signed_at = now

    def _save(self, now: datetime) -> None:
        self._writer.save()
        self._saved_at = now

    def _save_first(self) -> None:
        try:
            self._save(self._clock())
        except SmsweepError as err:
            err.is_unsent = True  # no job has heard of it
            raise
