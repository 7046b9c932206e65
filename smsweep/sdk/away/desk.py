"""An agent's place of work on a sweep that is kept in S3."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from smsweep.backends.base import Backend
from smsweep.errors import SmsweepError
from smsweep.sdk.away.elsewhere import Away, refuse_second
from smsweep.sdk.away.guard import GuardedBackend
from smsweep.sdk.away.record import own_job
from smsweep.sdk.away.successor import Successor
from smsweep.sdk.away.writer import Writer
from smsweep.store.base import Store
from smsweep.sweeps import SweepConfig

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Desk:
    """What an agent works with."""

    store: Store
    guard: Callable[[Backend], GuardedBackend]


@contextmanager
def at_desk(
    workspace_dir: Path,
    environ: Mapping[str, str],
    parse: Callable[[str], SweepConfig],
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
            try:
                sign = {"job": job, "agent_id": agent_id}
                successor = None
                if job:
                    began_at = datetime.fromisoformat(writer.note_job(job, clock().isoformat()))
                    successor = Successor(environ, sweep_id, away.jobs(sweep_id, writer.store), began_at, clock)
                writer.obey()

                def guard(backend: Backend) -> GuardedBackend:
                    is_over = successor.is_due if successor else (lambda: False)
                    return GuardedBackend(backend, writer, shelf, clock, sign, is_over)

                yield Desk(store=writer.store, guard=guard)
            finally:
                try:
                    writer.store.release(agent_id)  # the next agent need not wait for our leases
                    writer.save()
                    shelf.say_alive({**sign, "is_over": True})
                except SmsweepError as err:
                    log.warning("%s", err)
                writer.close()
    finally:
        away.close()
