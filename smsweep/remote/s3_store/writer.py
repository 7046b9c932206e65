"""Save a store to S3 as long as no other writer has taken over; larger stores are saved less often."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Collection, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from smsweep.errors import NotFound, SmsweepError, StoreConflict
from smsweep.remote.s3_store.commands import Malformed, carry_out, parse_command
from smsweep.remote.s3_store.replica import Changes, check_copy, snapshot
from smsweep.remote.s3_store.s3_object import ReceivedObject, S3Store
from smsweep.store import notes
from smsweep.store.base import ParseStored, Store
from smsweep.store.home import FILE_NAME
from smsweep.store.open import open_store

log = logging.getLogger(__name__)

MAX_NOTED = 100  # entries of a note; a command is read again only until it is deleted
NAME = re.compile(r"[\w-]{1,100}\.json", re.ASCII)  # name of a command in S3
SHORTEST = timedelta(seconds=2)
LONGEST = timedelta(minutes=5)
BYTES_PER_S = 100_000  # average upload rate of the packed store, without the saves before jobs start and end
KEY = "saves_every_s"  # key in a heartbeat


class Writer:
    """The only writer of a sweep's store in S3. It replaces the last writer, and releases its leases.

    Args:
        s3_store: The store in S3.
        sweep_id: The sweep.
        folder: Folder for the copy.
        parse: Parses the stored sweep.yaml.
        who: Name of the writer: a training job, an agent, or "person".

    Raises:
        Superseded: If another writer has replaced the store.
        NotFound: If the store does not exist.
        StoreError: If the store cannot be read or written.
    """

    def __init__(self, s3_store: S3Store, sweep_id: str, folder: Path, parse: ParseStored, who: str) -> None:
        self._s3_store = s3_store
        self._sweep_id = sweep_id
        self._file = folder / FILE_NAME
        self._draft = folder / "draft.db"
        self._stamp = f"{who}:{secrets.token_hex(4)}"
        self._n_saved = 0
        self.n_bytes = 0  # size of the packed store at the last save
        folder.mkdir(parents=True, exist_ok=True)
        for name in (FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm"):
            (folder / name).unlink(missing_ok=True)  # files of an earlier writer: the valid store is in S3
        version = s3_store.fetch(self._file)
        self._etag = version.etag if version else ""
        check_copy(self._file, s3_store.uri)
        self.store: Store = open_store(f"sqlite:///{self._file}", environ={}, parse=parse)
        self._changes = Changes(self._file)
        self._saved = -1
        try:
            for holder in self.store.holders(sweep_id):
                self.store.release(holder)  # after the save below, they cannot write any more
            self.save()
        except BaseException:
            self.close()
            raise

    def save(self) -> None:
        """Save the local copy to S3 if it has changed.

        Raises:
            Superseded: If another writer has replaced the store.
            StoreUnavailable: If S3 does not respond.
            StoreError: If S3 rejects the store.
        """
        version = self._changes.version()
        if version == self._saved:
            return
        snapshot(self._file, self._draft)
        self._n_saved += 1
        written = self._s3_store.replace(
            self._draft, version=self._etag, stamp=f"{self._stamp}:{self._n_saved}", writer=self._stamp
        )
        self._etag, self.n_bytes, self._saved = written.etag, written.n_bytes, version

    def run_commands(self) -> int:
        """Carry out the commands in S3, each one once.

        An object that is not a command is moved to another prefix, and recorded in a note with the reason.

        Returns:
            The number of commands that were in S3.
        """
        received = self._s3_store.received_commands()
        if not received:
            return 0
        obeyed: dict[str, str] = notes.HANDLED_COMMANDS.get(self.store, self._sweep_id)
        rejected: dict[str, str] = notes.REJECTED_COMMANDS.get(self.store, self._sweep_id)
        present = {command.id for command in received}
        for command in received:
            if command.id in obeyed:
                continue
            try:
                obeyed[command.id] = self._carry_out(command)
            except Malformed as err:
                log.warning("command %r is malformed and was moved to rejected/: %s", command.id, err)
                obeyed[command.id] = f"not a command: {err}"
                rejected[command.id] = str(err)
                notes.REJECTED_COMMANDS.put(self.store, self._sweep_id, _newest(rejected, present))
            notes.HANDLED_COMMANDS.put(self.store, self._sweep_id, _newest(obeyed, present))
        self.save()  # first, so that a command is deleted only after its effect is saved
        for command in received:
            try:
                if command.id in rejected:
                    self._s3_store.reject_command(command)
                else:
                    self._s3_store.delete_command(command)
            except SmsweepError as err:
                if err.retryable:
                    raise
                log.warning("command %r cannot be deleted from S3, but has no further effect: %s", command.id, err)
        return len(received)

    def note_job(self, name: str, now: str) -> str:
        """Record that a training job works on the sweep, and return the time of the first record."""
        jobs: dict[str, str] = notes.AGENT_JOBS.get(self.store, self._sweep_id)
        if name not in jobs:
            jobs[name] = now
            notes.AGENT_JOBS.put(self.store, self._sweep_id, jobs)
        return jobs[name]

    def close(self) -> None:
        """Close the local copy."""
        self._changes.close()
        self.store.close()

    def _carry_out(self, received: ReceivedObject) -> str:
        """Carry out a command. Return the reason if it is not possible, else "". Raises Malformed."""
        if received.problem:
            raise Malformed(received.problem)
        if not NAME.fullmatch(received.name):
            raise Malformed("its name in S3 is not the name of a command")
        command = parse_command(received.body)
        try:
            carry_out(self.store, self._sweep_id, command)
        except (StoreConflict, NotFound) as err:
            log.warning("command %s: %s", received.id, err)
            return str(err)
        log.warning("received command: %s", describe(command.model_dump(mode="json")))
        return ""


def _newest(noted: dict[str, str], present: Collection[str]) -> dict[str, str]:
    """Return the last entries of a note, and the entries of commands that are still in S3."""
    newest = set(list(noted)[-MAX_NOTED:])
    return {command_id: why for command_id, why in noted.items() if command_id in newest or command_id in present}


def describe(command: Mapping[str, Any]) -> str:
    """Return the text of a command for the user."""
    is_config = command["do"] == "change_config"
    about = f" trial {command['number']}" if "number" in command and not is_config else ""
    to = f" to {command['to']}" if "to" in command else ""
    return f"{command['do'].replace('_', ' ')}{about}{to}"


def save_interval(n_bytes: int) -> timedelta:
    """Return the longest time before changes are saved.

    Args:
        n_bytes: Size of the packed store.

    Returns:
        2 s for up to 200 kB, 10 s for 1 MB, 5 minutes for 30 MB and more.
    """
    return min(max(timedelta(seconds=n_bytes / BYTES_PER_S), SHORTEST), LONGEST)


def interval_of(sign: Mapping[str, Any]) -> timedelta:
    """Return the save interval in a heartbeat; the shortest interval if the heartbeat has no valid one."""
    stated = sign.get(KEY)
    if not isinstance(stated, int | float) or not 0 <= stated <= LONGEST.total_seconds():
        return SHORTEST
    return timedelta(seconds=stated)
