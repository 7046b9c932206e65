"""The one who writes a store that is kept in S3: on a copy here, put back before anything has effects."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from smsweep.errors import NotFound, SmsweepError, StoreConflict
from smsweep.remote.s3_store.commands import Malformed, carry_out, parse_command
from smsweep.remote.s3_store.s3_object import Received, Shelf
from smsweep.remote.s3_store.sqlite_backup import Changes, check_copy, snapshot
from smsweep.store import notes
from smsweep.store.base import ParseStored, Store
from smsweep.store.home import FILE_NAME
from smsweep.store.open import open_store

log = logging.getLogger(__name__)

MOST_NOTED = 100  # kept in a note: a command is read again only until it is deleted
NAME = re.compile(r"[\w-]{1,100}\.json", re.ASCII)  # of a command in S3


class Writer:
    """Takes a sweep's store over from whoever wrote it, and gives every lease back that they held.

    folder: for the copy. Raises Superseded at the first `save` after another has taken it over.
    """

    def __init__(self, shelf: Shelf, sweep_id: str, folder: Path, parse: ParseStored, who: str) -> None:
        self._shelf = shelf
        self._sweep_id = sweep_id
        self._file = folder / FILE_NAME
        self._draft = folder / "draft.db"
        self._stamp = f"{who}:{secrets.token_hex(4)}"
        self._n_saved = 0
        self.n_bytes = 0  # of the packed store, when it was last sent
        folder.mkdir(parents=True, exist_ok=True)
        for name in (FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm"):
            (folder / name).unlink(missing_ok=True)  # of a writer before us: what counts is in S3
        version = shelf.fetch(self._file)
        self._etag = version.etag if version else ""
        check_copy(self._file, shelf.uri)
        self.store: Store = open_store(f"sqlite:///{self._file}", environ={}, parse=parse)
        self._changes = Changes(self._file)
        self._saved = -1
        try:
            for holder in self.store.holders(sweep_id):
                self.store.release(holder)  # from the next line on they cannot write any more
            self.save()
        except BaseException:
            self.close()
            raise

    def save(self) -> None:
        """Bring S3 up to date. Raises Superseded, StoreUnavailable, StoreError; the copy here stays as it is."""
        version = self._changes.version()
        if version == self._saved:
            return
        snapshot(self._file, self._draft)
        self._n_saved += 1
        written = self._shelf.replace(
            self._draft, version=self._etag, stamp=f"{self._stamp}:{self._n_saved}", writer=self._stamp
        )
        self._etag, self.n_bytes, self._saved = written.etag, written.n_bytes, version

    def obey(self) -> int:
        """Carry out the commands that are in S3, each once, and return how many there were.

        An object that is not a command is moved aside in S3, and noted in the store with the reason.
        """
        received = self._shelf.orders()
        if not received:
            return 0
        obeyed: dict[str, str] = notes.HANDLED_COMMANDS.get(self.store, self._sweep_id)
        rejected: dict[str, str] = notes.REJECTED_COMMANDS.get(self.store, self._sweep_id)
        present = {order.id for order in received}
        for order in received:
            if order.id in obeyed:
                continue
            try:
                obeyed[order.id] = self._carry_out(order)
            except Malformed as err:
                log.warning("command %r is malformed and set aside: %s", order.id, err)
                obeyed[order.id] = f"not a command: {err}"
                rejected[order.id] = str(err)
                notes.REJECTED_COMMANDS.put(self.store, self._sweep_id, _newest(rejected, present))
            notes.HANDLED_COMMANDS.put(self.store, self._sweep_id, _newest(obeyed, present))
        self.save()  # first: a command that is gone from S3 has been carried out for good
        for order in received:
            try:
                (self._shelf.reject if order.id in rejected else self._shelf.drop)(order)
            except SmsweepError as err:
                if err.retryable:
                    raise
                log.warning("command %r stays in S3, without effect: %s", order.id, err)
        return len(received)

    def note_job(self, name: str, now: str) -> str:
        """Write down that a training job works on the sweep, and return when it first did."""
        jobs: dict[str, str] = notes.AGENT_JOBS.get(self.store, self._sweep_id)
        if name not in jobs:
            jobs[name] = now
            notes.AGENT_JOBS.put(self.store, self._sweep_id, jobs)
        return jobs[name]

    def close(self) -> None:
        self._changes.close()
        self.store.close()

    def _carry_out(self, order: Received) -> str:
        """Return why a command could not be carried out; "" when it was. Raises Malformed."""
        if order.problem:
            raise Malformed(order.problem)
        if not NAME.fullmatch(order.name):
            raise Malformed("its name in S3 is not a command's")
        command = parse_command(order.body)
        try:
            carry_out(self.store, self._sweep_id, command)
        except (StoreConflict, NotFound) as err:
            log.warning("command %s: %s", order.id, err)
            return str(err)
        log.warning("told to: %s", described(command.model_dump(mode="json")))
        return ""


def _newest(noted: dict[str, str], present: Collection[str]) -> dict[str, str]:
    """Return the last entries of a note, and those of commands that are in S3 still and would be read again."""
    newest = set(list(noted)[-MOST_NOTED:])
    return {order_id: why for order_id, why in noted.items() if order_id in newest or order_id in present}


def described(order: Mapping[str, Any]) -> str:
    """Return a command as a person reads it."""
    about = f" trial {order['number']}" if "number" in order else ""
    to = f" to {order['to']}" if "to" in order else ""
    return f"{order['do'].replace('_', ' ')}{about}{to}"
