"""Backend for agents whose store is in S3: it saves the store before each action, and runs commands from S3."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Any

from smsweep.backends.base import Backend
from smsweep.core.job import JobStatus, LogPage, TrainingJobRequest
from smsweep.engine.agent_state import HandOver
from smsweep.errors import SmsweepError
from smsweep.remote.s3_store.s3_object import S3Store
from smsweep.remote.s3_store.writer import KEY, Writer, save_interval

log = logging.getLogger(__name__)

POLL = timedelta(seconds=2)  # between two polls for commands
HEARTBEAT = timedelta(seconds=10)  # between two heartbeats


class GuardedBackend:
    """Saves the store before a job starts or ends, so that the next agent knows the job after a crash.

    Other changes are saved at intervals that grow with the store: see `save_interval`.

    Args:
        backend: Runs the jobs.
        writer: Writes the store of the sweep.
        s3_store: The store in S3.
        clock: Returns the current time.
        heartbeat: Content of each heartbeat.
        is_over: Returns True if the agent must exit because a successor has started.
    """

    def __init__(
        self,
        backend: Backend,
        writer: Writer,
        s3_store: S3Store,
        clock: Callable[[], datetime],
        heartbeat: dict[str, Any],
        is_over: Callable[[], bool],
    ) -> None:
        self._backend = backend
        self._writer = writer
        self._s3_store = s3_store
        self._clock = clock
        self._heartbeat = heartbeat
        self._is_over = is_over
        self._polled_at = self._heartbeat_at = self._saved_at = clock() - HEARTBEAT
        self._last_warning = ""

    @property
    def place(self) -> str:
        """Where the jobs run."""
        return self._backend.place

    def submit(self, request: TrainingJobRequest) -> None:
        """Save the store, then start a job."""
        self._save_first()
        self._backend.submit(request)

    def describe(self, names: Collection[str]) -> dict[str, JobStatus]:
        """Return the status of jobs."""
        return self._backend.describe(names)

    def stop(self, name: str, *, grace_s: float | None = None) -> None:
        """Save the store, then stop a job."""
        self._save_first()
        self._backend.stop(name, grace_s=grace_s)

    def read_logs(self, name: str, cursor: str = "") -> LogPage:
        """Return the log lines after a cursor."""
        return self._backend.read_logs(name, cursor)

    def forget(self, name: str) -> None:
        """Save the store, then release a job that has ended."""
        self._save_first()
        self._backend.forget(name)

    def wait(self, timeout_s: float) -> None:
        """Run commands, save the store and write a heartbeat if they are due, then wait.

        Args:
            timeout_s: Maximum wait in seconds.

        Raises:
            HandOver: If a successor has started.
            Superseded: If another agent writes the store.
        """
        if self._is_over():
            raise HandOver(0)
        now = self._clock()
        if now - self._polled_at >= POLL or now < self._polled_at:
            self._polled_at = now
            try:
                self._writer.run_commands()
                if now - self._saved_at >= save_interval(self._writer.n_bytes) or now < self._saved_at:
                    self._save(now)
                self._write_heartbeat(now)
                self._last_warning = ""
            except SmsweepError as err:
                if not err.retryable:
                    raise
                if str(err) != self._last_warning:
                    log.warning("%s; trying again", err)
                self._last_warning = str(err)
        self._backend.wait(timeout_s)

    def close(self) -> None:
        """Close the backend."""
        self._backend.close()

    def _write_heartbeat(self, now: datetime) -> None:
        if now - self._heartbeat_at >= HEARTBEAT or now < self._heartbeat_at:
            interval_s = save_interval(self._writer.n_bytes).total_seconds()
            self._s3_store.write_heartbeat({**self._heartbeat, KEY: interval_s})
            self._heartbeat_at = now

    def _save(self, now: datetime) -> None:
        self._writer.save()
        self._saved_at = now

    def _save_first(self) -> None:
        try:
            self._save(self._clock())
        except SmsweepError as err:
            err.is_unsent = True  # the job was not changed
            raise
