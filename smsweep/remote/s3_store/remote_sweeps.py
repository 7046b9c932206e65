"""The sweeps of a workspace that are kept in S3: read in copies, changed through whoever writes them."""

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
from smsweep.remote.agent_jobs import look_at
from smsweep.remote.record import FOLDER, Record, all_jobs, own_job, read_records, record_path
from smsweep.remote.s3_store.replica import Copies, Copy
from smsweep.remote.s3_store.s3_object import Order, Shelf
from smsweep.remote.s3_store.save_interval import SHORTEST, interval_of
from smsweep.remote.s3_store.writer import Writer
from smsweep.store import notes
from smsweep.store.base import ParseStored, Store
from smsweep.util.log_levels import NOTE

log = logging.getLogger(__name__)

FRESH_S = 2.0  # a copy is not asked about again for so long
ORDER_S = 60.0  # for an order to be carried out
LOOK_S = 0.3  # between two looks whether it was
WRITE_S = 20.0  # for S3 to answer
JOB_S = 5.0  # between two looks whether its agent is still there
SILENT = timedelta(seconds=60)  # without a sign of life an agent is gone, unless it is a job that says otherwise

R = TypeVar("R")


class Away:
    """environ: leads to AWS. parse: reads a sweep's stored YAML."""

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
        self._copies: dict[str, Copies] = {}
        self._fetched: dict[str, tuple[float, Copy]] = {}

    def ids(self) -> Collection[str]:
        return self._records.keys()

    def reader(self, sweep_id: str) -> Store:
        """See store.routed.Elsewhere. Says once how old it is."""
        is_first = sweep_id not in self._fetched
        copy = self._fetch(sweep_id)
        if is_first and not own_job(self._environ):
            self._say_age(sweep_id, copy)
        return copy.store

    def change(self, sweep_id: str, work: Callable[[Store], R], order: Mapping[str, Any]) -> R:
        """See store.routed.Elsewhere. Raises StoreConflict, and BackendUnavailable for an order not yet read."""
        if not self.is_worked_on(sweep_id):
            return self._write(sweep_id, work)
        copy = self._fetch(sweep_id)
        try:
            done = work(copy.store)  # on the copy: whether it can be done, and what comes of it
        finally:
            self._forget(sweep_id)
        now = datetime.now(timezone.utc)
        sent = Order(id=f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}", document=dict(order))
        shelf = self.shelf(sweep_id)
        self._patiently(lambda: shelf.send(sent))
        if not self._wait_for(sweep_id, shelf, sent.id):
            shelf.drop(sent)  # nobody is there any more who would read it
            return self._write(sweep_id, work)
        obeyed = notes.HANDLED_COMMANDS.get(self._patiently(lambda: self._fetch(sweep_id)).store, sweep_id)
        if why := obeyed.get(sent.id):
            raise StoreConflict(why)
        return done

    def drop(self, sweep_id: str) -> None:
        """See store.routed.Elsewhere."""
        if self.is_worked_on(sweep_id):
            raise UsageError(
                f"sweep {sweep_id}: its agent is at work; `smsweep sweep --cancel` it, and let it end"
            )
        self.shelf(sweep_id).delete()
        self._forget(sweep_id)
        record_path(self._dir, sweep_id).unlink(missing_ok=True)
        shutil.rmtree(self._dir / FOLDER / sweep_id, ignore_errors=True)
        del self._records[sweep_id]

    def is_worked_on(self, sweep_id: str) -> bool:
        """Tell whether an agent writes the sweep's store now. Raises JobError, StoreError."""
        names = self.jobs(sweep_id)
        if names and look_at(self._aws, names[-1]).is_alive:
            return True
        sign, age = self.shelf(sweep_id).look()
        return age is not None and age < SILENT and not sign.get("job") and not sign.get("is_over")

    def jobs(self, sweep_id: str, store: Store | None = None) -> list[str]:
        """Return the training jobs that the sweep's agents are or were, oldest first."""
        note = notes.AGENT_JOBS.get(store or self._fetch(sweep_id).store, sweep_id)
        return all_jobs(self._records[sweep_id], note)

    def shelf(self, sweep_id: str) -> Shelf:
        record = self._records[sweep_id]
        return Shelf(self._aws, record.uri, record.kms_key)

    def record(self, sweep_id: str) -> Record:
        return self._records[sweep_id]

    def close(self) -> None:
        for copies in self._copies.values():
            copies.close()
        self._aws.close()

    def _fetch(self, sweep_id: str) -> Copy:
        now = self._monotonic()
        fetched_at, copy = self._fetched.get(sweep_id, (float("-inf"), None))
        if copy is None or now - fetched_at > FRESH_S:
            if sweep_id not in self._copies:
                folder = self._dir / FOLDER / sweep_id / "copies"
                self._copies[sweep_id] = Copies(folder, self.shelf(sweep_id), self._parse)
            copy = self._copies[sweep_id].newest()
            self._fetched[sweep_id] = (now, copy)
        return copy

    def _forget(self, sweep_id: str) -> None:
        if sweep_id in self._copies:
            self._copies[sweep_id].forget()
        self._fetched.pop(sweep_id, None)

    def _write(self, sweep_id: str, work: Callable[[Store], R]) -> R:
        """Take the store over for one change."""
        with tempfile.TemporaryDirectory(prefix="smsweep-") as folder:
            writer = Writer(self.shelf(sweep_id), sweep_id, Path(folder), self._parse, "person")
            try:
                done = work(writer.store)
                self._patiently(writer.save)
            finally:
                writer.close()
                self._forget(sweep_id)
        return done

    def _wait_for(self, sweep_id: str, shelf: Shelf, order_id: str) -> bool:
        """Wait until an order was carried out; False where its agent is gone."""
        begin = looked = self._monotonic()
        while True:
            now = self._monotonic()
            try:
                if not shelf.has(order_id):
                    break
                if now - looked > JOB_S:
                    looked = now
                    if not self.is_worked_on(sweep_id) and shelf.has(order_id):
                        return False
            except SmsweepError as err:  # the command is on its way, whether S3 can be asked now or not
                if not err.retryable:
                    raise
                log.debug("%s", err)
            if now - begin > ORDER_S:
                raise BackendUnavailable(
                    f"sweep {sweep_id}: the order lies ready, but its agent has not read it for {ORDER_S:.0f} s; "
                    f"it will when it comes to it. See how it is: smsweep show {sweep_id}"
                )
            self._sleep(LOOK_S)
        self._forget(sweep_id)
        return True

    def _patiently(self, call: Callable[[], R]) -> R:
        """Call something that may be repeated, for a while if S3 does not answer. Raises SmsweepError."""
        begin = self._monotonic()
        while True:
            try:
                return call()
            except SmsweepError as err:
                if not err.retryable or self._monotonic() - begin > WRITE_S:
                    raise
                log.debug("%s", err)
            self._sleep(LOOK_S)

    def _say_age(self, sweep_id: str, copy: Copy) -> None:
        is_at_work, interval = False, SHORTEST
        try:
            sign, age = self.shelf(sweep_id).look()
            interval = interval_of(sign)
            is_at_work = age is not None and (age < SILENT or self.is_worked_on(sweep_id))
        except SmsweepError as err:
            log.debug("%s", err)
            age = None
        if copy.trouble:
            log.warning("sweep %s is as of %s: %s", sweep_id, copy.written_at.isoformat()[:19], copy.trouble)
        elif age is None:
            log.log(NOTE, "sweep %s is kept in S3; its agent has not begun yet", sweep_id)
        elif age < SILENT:
            most = max(age, interval).total_seconds()
            log.log(NOTE, "sweep %s as its agent wrote it, at most %.0f s ago", sweep_id, most)
        elif is_at_work:
            log.log(
                NOTE,
                "sweep %s as of %s; its agent has said nothing since",
                sweep_id,
                copy.written_at.isoformat()[:19],
            )
        else:
            log.log(
                NOTE,
                "sweep %s as of %s; no agent has been at work since: smsweep agent %s [--detach] starts one",
                sweep_id,
                copy.written_at.isoformat()[:19],
                sweep_id,
            )


def refuse_second(away: Away, sweep_id: str, environ: Mapping[str, str]) -> None:
    """Raise UsageError where an agent works on the sweep already, and it is not this process."""
    if own_job(environ) or not away.is_worked_on(sweep_id):
        return  # of two training jobs the store itself keeps one out
    names = away.jobs(sweep_id)
    at_work = names[-1] if names else "one that is no training job"
    raise UsageError(
        f"sweep {sweep_id} has its agent already: {at_work}; see how it is: smsweep show {sweep_id}. To go on "
        "here instead, end that one first: its trials' jobs go on"
    )
