"""The thread that takes every live job on, step by step."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from smsweep.backends.base import Backend
from smsweep.core.job import JobStatus
from smsweep.emulator.jobs import warm_pools
from smsweep.emulator.jobs.job import Job
from smsweep.emulator.jobs.job_table import JobTable
from smsweep.emulator.jobs.lifecycle import Course
from smsweep.errors import JobError

log = logging.getLogger(__name__)

TICK_S = 0.1
IDLE_S = 1.0  # where no job is live; warm pools may still end
CLOSE_GRACE_S = 5.0  # jobs get it between SIGTERM and SIGKILL when the endpoint is closed
KILL_S = 10.0  # from killing the last jobs to giving up on them


@contextmanager
def running(table: JobTable, backend: Backend, course: Course, clock: Callable[[], float]) -> Iterator[Runner]:
    """Run the thread while the `with` lasts, then stop all jobs."""
    runner = Runner(table, backend, course, clock)
    runner.start()
    try:
        yield runner
    finally:
        runner.close(CLOSE_GRACE_S)


class Runner(threading.Thread):
    """clock: seconds since the epoch."""

    def __init__(self, table: JobTable, backend: Backend, course: Course, clock: Callable[[], float]) -> None:
        super().__init__(name="smsweep-endpoint-jobs", daemon=True)
        self._table = table
        self._backend = backend
        self._course = course
        self._clock = clock
        self._news = threading.Event()
        self._deleted: list[str] = []  # names of jobs to forget
        self._kill_at = float("inf")  # when patience with the last jobs ends; finite while closing

    def wake(self) -> None:
        self._news.set()

    def forget(self, name: str) -> None:
        """Let the next tick remove what is here of a deleted job, before it begins another of that name."""
        self._deleted.append(name)
        self.wake()

    def run(self) -> None:
        while not self._is_done():
            try:
                self.tick()
            except JobError as err:  # the backend does not answer; it will
                log.warning("%s", err)
            except Exception:  # whatever it is, the jobs still need somebody who looks after them
                log.exception("a look at the jobs failed")
            self._news.wait(TICK_S if self._table.live() else IDLE_S)
            self._news.clear()

    def tick(self) -> None:
        with self._table.lock:
            deleted, self._deleted = self._deleted, []
            for name in deleted:
                self._course.discard(name)
            jobs = self._table.live()
        seen = self._backend.describe([job.name for job in jobs if job.is_submitted])
        for job in jobs:
            self._step(job, seen.get(job.name))
        self._expire_pools()

    def close(self, grace_s: float) -> None:
        """Stop every job, kill after grace_s those that live, see all to their end, and end the thread."""
        with self._table.lock:
            for job in self._table.live():
                job.enter("Stopping", self._clock())
                self._course.announce(job)
        self._kill_at = self._clock() + grace_s
        self.wake()
        self.join()

    def _step(self, job: Job, seen: JobStatus | None) -> None:
        try:
            self._course.step(job, seen)
            if self._clock() >= self._kill_at and job.is_submitted and not job.is_terminal:
                self._backend.stop(job.name, grace_s=0)
        except JobError as err:
            log.warning("%s: %s", job.name, err)
        except Exception:  # one job's trouble must not become that of all others
            log.exception("%s: cannot be taken on", job.name)
            self._course.fail(job)

    def _expire_pools(self) -> None:
        with self._table.lock:
            for job in self._table.all():
                if warm_pools.expire(job, self._clock()):
                    self._table.save(job)

    def _is_done(self) -> bool:
        if self._kill_at == float("inf"):
            return False
        return not self._table.live() or self._clock() > self._kill_at + KILL_S
