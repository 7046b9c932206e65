"""Detached sweeps of a workspace: read from local copies of their stores, changed by commands to their agents.

A call that S3 does not answer is repeated for RETRY_S seconds.
"""

from __future__ import annotations

import logging
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeVar

from smsweep.aws.client import Aws
from smsweep.errors import BackendUnavailable, SmsweepError, StoreConflict, UsageError
from smsweep.remote.agent_jobs import describe_agent_job
from smsweep.remote.record import FOLDER, DetachRecord, all_jobs, own_job, read_records, record_path
from smsweep.remote.s3_store.replica import Copy, Replica
from smsweep.remote.s3_store.s3_object import S3Store, SentCommand
from smsweep.remote.s3_store.writer import SHORTEST, Writer, interval_of
from smsweep.store import notes
from smsweep.store.base import ParseStored, Store
from smsweep.util.clock import time_text
from smsweep.util.terminal_text import NOTE

log = logging.getLogger(__name__)

FRESH_S = 2.0  # a copy is not checked again for this long
COMMAND_S = 60.0  # longest wait for a command
POLL_S = 0.3  # between two checks whether the command was carried out
RETRY_S = 20.0  # how long failed calls of S3 are repeated
AGENT_CHECK_S = 5.0  # between two checks whether the agent is alive
SILENT = timedelta(
    seconds=60
)  # an agent without a heartbeat for this long is dead, unless its training job is alive

R = TypeVar("R")


class RemoteSweeps:
    """The detached sweeps of a workspace whose stores are in S3.

    Args:
        workspace_dir: Folder of the workspace.
        environ: Environment variables, with the access to AWS.
        parse: Parses the stored sweep.yaml.
        monotonic: Returns monotonic seconds.
        sleep: Waits a number of seconds.
    """

    def __init__(
        self,
        workspace_dir: Path,
        environ: Mapping[str, str],
        parse: ParseStored,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._dir = workspace_dir
        self._environ = environ
        self._parse = parse
        self._monotonic = monotonic
        self._sleep = sleep
        self._aws = Aws(environ)
        self._records = {key: record for key, record in read_records(workspace_dir).items() if record.uri}
        self._copies: dict[str, Replica] = {}
        self._fetched: dict[str, tuple[float, Copy]] = {}

    def ids(self) -> Collection[str]:
        """Return the ids of the sweeps."""
        return self._records.keys()

    def reader(self, sweep_id: str) -> Store:
        """Return a copy of a sweep's store to read. The first call logs the age of the copy."""
        is_first = sweep_id not in self._fetched
        copy = self._fetch(sweep_id)
        if is_first and not own_job(self._environ):
            self._log_age(sweep_id, copy)
        return copy.store

    def change(self, sweep_id: str, work: Callable[[Store], R], command: Mapping[str, Any]) -> R:
        """Change a sweep: send a command to its agent, or without an agent, write its store.

        Args:
            sweep_id: The sweep.
            work: Makes the change in a store, and returns the result.
            command: The same change as a command.

        Raises:
            StoreConflict: If the agent could not carry out the command.
            BackendUnavailable: If the agent has not read the command yet.
        """
        if not self._retry(lambda: self.has_live_agent(sweep_id)):
            return self._write(sweep_id, work)
        copy = self._fetch(sweep_id)
        try:
            done = work(copy.store)  # on the copy: to check the change, and for its result
        finally:
            self._forget(sweep_id)
        now = datetime.now(timezone.utc)
        sent = SentCommand(id=f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}", document=dict(command))
        s3_store = self.s3_store(sweep_id)
        self._retry(lambda: s3_store.send_command(sent))
        if not self._wait_for(sweep_id, s3_store, sent.id):
            s3_store.delete_command(sent)  # the agent has exited and does not read the command
            return self._write(sweep_id, work)
        obeyed = notes.HANDLED_COMMANDS.get(self._fetch(sweep_id).store, sweep_id)
        if why := obeyed.get(sent.id):
            raise StoreConflict(why)
        return done

    def write(self, sweep_id: str, work: Callable[[Store], R]) -> R:
        """Change the store of a sweep that has no agent. Raises UsageError if an agent works on the sweep."""
        if self._retry(lambda: self.has_live_agent(sweep_id)):
            raise UsageError(f"sweep {sweep_id}: its agent is running; try again when it has exited")
        return self._write(sweep_id, work)

    def drop(self, sweep_id: str) -> None:
        """Delete a sweep and its record. Raises UsageError if an agent works on the sweep."""
        if self._retry(lambda: self.has_live_agent(sweep_id)):
            raise UsageError(
                f"sweep {sweep_id}: its agent is running; run `smsweep sweep --cancel {sweep_id}`, and wait until "
                "the agent has exited"
            )
        self.s3_store(sweep_id).delete()
        self._forget(sweep_id)
        record_path(self._dir, sweep_id).unlink(missing_ok=True)
        shutil.rmtree(self._dir / FOLDER / sweep_id, ignore_errors=True)
        del self._records[sweep_id]

    def has_live_agent(self, sweep_id: str) -> bool:
        """Return True if an agent writes the sweep's store. Raises JobError or StoreError."""
        names = self.jobs(sweep_id)
        if names and describe_agent_job(self._aws, names[-1]).is_alive:
            return True
        heartbeat, age = self.s3_store(sweep_id).read_heartbeat()
        return age is not None and age < SILENT and not heartbeat.get("job") and not heartbeat.get("is_over")

    def jobs(self, sweep_id: str, store: Store | None = None) -> list[str]:
        """Return the names of the training jobs of the sweep's agents, oldest first."""
        note = notes.AGENT_JOBS.get(store or self._fetch(sweep_id).store, sweep_id)
        return all_jobs(self._records[sweep_id], note)

    def s3_store(self, sweep_id: str) -> S3Store:
        """Return a sweep's store in S3."""
        record = self._records[sweep_id]
        return S3Store(self._aws, record.uri, record.kms_key)

    def record(self, sweep_id: str) -> DetachRecord:
        """Return the record of a sweep."""
        return self._records[sweep_id]

    def close(self) -> None:
        """Close all copies and the connection to AWS."""
        for copies in self._copies.values():
            copies.close()
        self._aws.close()

    def _fetch(self, sweep_id: str) -> Copy:
        now = self._monotonic()
        fetched_at, copy = self._fetched.get(sweep_id, (float("-inf"), None))
        if copy is None or now - fetched_at > FRESH_S:
            if sweep_id not in self._copies:
                folder = self._dir / FOLDER / sweep_id / "copies"
                self._copies[sweep_id] = Replica(folder, self.s3_store(sweep_id), self._parse)
            copy = self._retry(self._copies[sweep_id].newest)  # fails only if there is no local copy yet
            self._fetched[sweep_id] = (now, copy)
        return copy

    def _forget(self, sweep_id: str) -> None:
        if sweep_id in self._copies:
            self._copies[sweep_id].forget()
        self._fetched.pop(sweep_id, None)

    def _write(self, sweep_id: str, work: Callable[[Store], R]) -> R:
        """Become the writer of the store for one change."""
        with tempfile.TemporaryDirectory(prefix="smsweep-") as folder:
            s3_store = self.s3_store(sweep_id)
            writer = self._retry(lambda: Writer(s3_store, sweep_id, Path(folder), self._parse, "person"))
            try:
                done = work(writer.store)
                self._retry(writer.save)
            finally:
                writer.close()
                self._forget(sweep_id)
        return done

    def _wait_for(self, sweep_id: str, s3_store: S3Store, command_id: str) -> bool:
        """Wait until the agent has carried out a command. Return False if the agent is dead."""
        begin = checked_at = self._monotonic()
        while True:
            now = self._monotonic()
            try:
                if not s3_store.has_command(command_id):
                    break
                if now - checked_at > AGENT_CHECK_S:
                    checked_at = now
                    if not self.has_live_agent(sweep_id) and s3_store.has_command(command_id):
                        return False
            except SmsweepError as err:  # the command is in S3, even if S3 cannot be read now
                if not err.retryable:
                    raise
                log.debug("%s", err)
            if now - begin > COMMAND_S:
                raise BackendUnavailable(
                    f"sweep {sweep_id}: the command is queued, but the agent has not read it for "
                    f"{COMMAND_S:.0f} s; the agent applies it at its next poll. See its state with "
                    f"`smsweep show {sweep_id}`"
                )
            self._sleep(POLL_S)
        self._forget(sweep_id)
        return True

    def _retry(self, call: Callable[[], R]) -> R:
        """Call a function, and repeat it for RETRY_S seconds if S3 does not respond. Raises SmsweepError."""
        begin, is_first = self._monotonic(), True
        while True:
            try:
                return call()
            except SmsweepError as err:
                if not err.retryable or self._monotonic() - begin > RETRY_S:
                    raise
                if is_first:
                    log.log(NOTE, "%s; trying again for %.0f s", err, RETRY_S)
                is_first = False
            self._sleep(POLL_S)

    def _log_age(self, sweep_id: str, copy: Copy) -> None:
        is_running, interval = False, SHORTEST
        try:
            heartbeat, age = self.s3_store(sweep_id).read_heartbeat()
            interval = interval_of(heartbeat)
            is_running = age is not None and (age < SILENT or self.has_live_agent(sweep_id))
        except SmsweepError as err:
            log.debug("%s", err)
            age = None
        if copy.trouble:
            log.warning("sweep %s: showing the copy of %s: %s", sweep_id, time_text(copy.written_at), copy.trouble)
        elif age is None:
            log.log(NOTE, "sweep %s is detached; its agent has not started yet", sweep_id)
        elif age < SILENT:
            most = max(age, interval).total_seconds()
            log.log(NOTE, "sweep %s: saved by its agent, at most %.0f s ago", sweep_id, most)
        elif is_running:
            log.log(
                NOTE,
                "sweep %s: saved at %s; the agent has not saved the store since",
                sweep_id,
                time_text(copy.written_at),
            )
        else:
            log.log(
                NOTE,
                "sweep %s: saved at %s; no agent is running; start one with `smsweep agent %s [--detach]`",
                sweep_id,
                time_text(copy.written_at),
                sweep_id,
            )


def refuse_second(away: RemoteSweeps, sweep_id: str, environ: Mapping[str, str]) -> None:
    """Raise UsageError if another agent works on the sweep."""
    if own_job(environ) or not away.has_live_agent(sweep_id):
        return  # the store itself rejects the second of two training jobs
    names = away.jobs(sweep_id)
    running = f"training job {names[-1]}" if names else "a process on another machine"
    raise UsageError(
        f"sweep {sweep_id} has an agent: {running}; see its state with `smsweep show {sweep_id}`. To continue on "
        "this machine, stop that agent first. The jobs of its trials continue"
    )
