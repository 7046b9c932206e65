"""An agent's place of work on a sweep that is kept in S3."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from smsweep.backends.base import Backend
from smsweep.errors import SmsweepError
from smsweep.remote.agent_job.guarded_backend import GuardedBackend
from smsweep.remote.agent_job.successor import Successor
from smsweep.remote.record import own_job
from smsweep.remote.s3_store.remote_sweeps import Away, refuse_second
from smsweep.remote.s3_store.s3_object import Shelf
from smsweep.remote.s3_store.writer import Writer
from smsweep.store.base import ParseStored, Store

log = logging.getLogger(__name__)

PATIENCE_S = 300.0  # of an agent that has ended, until what it did is saved
LAST_TRIES_S = 10.0  # of one that fails, or is told to go
LONGEST_PAUSE_S = 30.0  # between two tries


@dataclass(frozen=True, kw_only=True, slots=True)
class Desk:
    """What an agent works with."""

    store: Store
    guard: Callable[[Backend], GuardedBackend]


@contextmanager
def at_desk(
    workspace_dir: Path,
    environ: Mapping[str, str],
    parse: ParseStored,
    sweep_id: str,
    agent_id: str,
    clock: Callable[[], datetime],
) -> Iterator[Desk]:
    """Take a sweep's store over, and put it back when the agent leaves.

    Raises UsageError where another agent has it, StoreUnavailable, StoreError, JobError.
    """
    away = Away(workspace_dir, environ, parse)
    job = own_job(environ)
    try:
        refuse_second(away, sweep_id, environ)
        shelf = away.shelf(sweep_id)
        with tempfile.TemporaryDirectory(prefix="smsweep-") as folder:
            writer = Writer(shelf, sweep_id, Path(folder), parse, job or agent_id)
            sign: dict[str, Any] = {"job": job, "agent_id": agent_id}
            try:
                successor = None
                if job:
                    began_at = datetime.fromisoformat(writer.note_job(job, clock().isoformat()))
                    successor = Successor(environ, sweep_id, away.jobs(sweep_id, writer.store), began_at, clock)
                writer.obey()

                def guard(backend: Backend) -> GuardedBackend:
                    is_over = successor.is_due if successor else (lambda: False)
                    return GuardedBackend(backend, writer, shelf, clock, sign, is_over)

                yield Desk(store=writer.store, guard=guard)
            except BaseException:
                _leave(writer, shelf, agent_id, sign, LAST_TRIES_S)
                raise
            else:
                if err := _leave(writer, shelf, agent_id, sign, PATIENCE_S):
                    raise err  # what was done since the last save is lost to others
            finally:
                writer.close()
    finally:
        away.close()


def _leave(
    writer: Writer, shelf: Shelf, agent_id: str, sign: dict[str, Any], patience_s: float
) -> SmsweepError | None:
    """Give all leases back and save; return why that failed in the end. patience_s: for S3 to answer."""
    pauses_s = (2.0**n for n in count())
    deadline = time.monotonic() + patience_s
    while True:
        try:
            writer.store.release(agent_id)  # the next agent need not wait for our leases
            writer.save()
            shelf.say_alive({**sign, "is_over": True})
            return None
        except SmsweepError as err:
            pause_s = min(next(pauses_s), LONGEST_PAUSE_S)
            if not err.retryable or time.monotonic() + pause_s > deadline:
                log.warning("%s", err)
                return err
            log.warning("%s; trying again", err)
        time.sleep(pause_s)
