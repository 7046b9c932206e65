"""The thread that moves all live jobs through their lifecycle, and the environment that jobs inherit.

Jobs inherit a short list of variables without secrets. They get all other variables from their requests and
from the emulator, as on SageMaker.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from smsweep.backends.base import Backend
from smsweep.core.job import JobStatus
from smsweep.emulator.api.access import AccessKey
from smsweep.emulator.api_error import DEFAULT_REGION
from smsweep.emulator.jobs import warm_pools
from smsweep.emulator.jobs.job import Job, JobTable
from smsweep.emulator.jobs.lifecycle import JobLifecycle
from smsweep.errors import JobError

log = logging.getLogger(__name__)

TICK_S = 0.1
IDLE_S = 1.0  # pause without live jobs; warm pools can still expire
CLOSE_GRACE_S = 5.0  # between SIGTERM and SIGKILL of jobs when the emulator stops
KILL_S = 10.0  # longest wait for jobs after SIGKILL
NAMES = frozenset(
    (
        # The user, the interpreter and its libraries.
        *(
            "HOME",
            "USER",
            "LOGNAME",
            "PATH",
            "LD_LIBRARY_PATH",
            "VIRTUAL_ENV",
            "CONDA_PREFIX",
            "CUDA_VISIBLE_DEVICES",
        ),
        *("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "TMPDIR", "LANG", "LANGUAGE", "TZ"),
        # Access of pip to its index.
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    )
)
PREFIXES = ("LC_", "PIP_")
# Access of the docker backend to its engine. Containers inherit none of these.
ENGINE_NAMES = frozenset(
    ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY")
)
ENGINE_PREFIXES = ("SMSWEEP_DOCKER_",)
NO_FILE = "/dev/null"


@contextmanager
def running(
    table: JobTable, backend: Backend, lifecycle: JobLifecycle, clock: Callable[[], float]
) -> Iterator[Runner]:
    """Run the thread until the `with` block ends, then stop all jobs."""
    runner = Runner(table, backend, lifecycle, clock)
    runner.start()
    try:
        yield runner
    finally:
        runner.close(CLOSE_GRACE_S)


class Runner(threading.Thread):
    """Thread that moves jobs through their lifecycle.

    Args:
        table: All jobs.
        backend: Runs the jobs.
        lifecycle: Moves one job to its next status.
        clock: Returns seconds since the epoch.
    """

    def __init__(
        self, table: JobTable, backend: Backend, lifecycle: JobLifecycle, clock: Callable[[], float]
    ) -> None:
        super().__init__(name="smsweep-emulator-jobs", daemon=True)
        self._table = table
        self._backend = backend
        self._lifecycle = lifecycle
        self._clock = clock
        self._wakeup = threading.Event()
        self._deleted: list[str] = []  # names of deleted jobs that are still on disk
        self._kill_at = float("inf")  # time when remaining jobs are killed; finite while closing

    def wake(self) -> None:
        """Start the next tick at once."""
        self._wakeup.set()

    def forget(self, name: str) -> None:
        """Remove the files of a deleted job in the next tick, before a new job of that name starts."""
        self._deleted.append(name)
        self.wake()

    def run(self) -> None:
        while not self._is_done():
            try:
                self.tick()
            except JobError as err:  # temporary error of the backend
                log.warning("%s", err)
            except Exception:  # the thread must survive any error: the jobs need it
                log.exception("cannot update the jobs; trying again")
            self._wakeup.wait(TICK_S if self._table.live() else IDLE_S)
            self._wakeup.clear()

    def tick(self) -> None:
        """Move each live job one step, and end expired warm pools."""
        with self._table.lock:
            deleted, self._deleted = self._deleted, []
            for name in deleted:
                self._lifecycle.discard(name)
            jobs = self._table.live()
        seen = self._backend.describe([job.name for job in jobs if job.is_submitted])
        for job in jobs:
            self._step(job, seen.get(job.name))
        self._expire_pools()

    def close(self, grace_s: float) -> None:
        """Stop all jobs, kill those that are alive after the grace period, and end the thread."""
        with self._table.lock:
            for job in self._table.live():
                job.enter("Stopping", self._clock())
                self._lifecycle.announce(job)
        self._kill_at = self._clock() + grace_s
        self.wake()
        self.join()

    def _step(self, job: Job, seen: JobStatus | None) -> None:
        try:
            self._lifecycle.step(job, seen)
            if self._clock() >= self._kill_at and job.is_submitted and not job.is_terminal:
                self._backend.stop(job.name, grace_s=0)
        except JobError as err:
            log.warning("%s: %s", job.name, err)
        except Exception:  # an error of one job must not affect the others
            log.exception("%s: internal error; the job fails", job.name)
            self._lifecycle.fail(job)

    def _expire_pools(self) -> None:
        with self._table.lock:
            for job in self._table.all():
                if warm_pools.expire(job, self._clock()):
                    self._table.save(job)

    def _is_done(self) -> bool:
        if self._kill_at == float("inf"):
            return False
        return not self._table.live() or self._clock() > self._kill_at + KILL_S


def job_environment(
    environ: Mapping[str, str], url: str, key: AccessKey, *, in_containers: bool
) -> dict[str, str]:
    """Return the environment that a backend receives for its jobs.

    Args:
        environ: The environment of the user who runs the emulator.
        url: The URL of the emulator from inside a job.
        key: The access key of the jobs.
        in_containers: True if the backend needs the settings of a Docker Engine.
    """
    names = NAMES | ENGINE_NAMES if in_containers else NAMES
    prefixes = PREFIXES + ENGINE_PREFIXES if in_containers else PREFIXES
    inherited = {
        name: value for name, value in environ.items() if name.upper() in names or name.startswith(prefixes)
    }
    return {
        **inherited,
        **client_environment(url, key),
        "AWS_CONFIG_FILE": NO_FILE,
        "AWS_SHARED_CREDENTIALS_FILE": NO_FILE,
    }


def client_environment(url: str, key: AccessKey) -> dict[str, str]:
    """Return the variables that make AWS SDKs and tools use the emulator.

    Args:
        url: The URL of the emulator.
        key: An access key that the emulator accepts.
    """
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": key.id,
        "AWS_SECRET_ACCESS_KEY": key.secret,
        "AWS_REGION": DEFAULT_REGION,
        "AWS_DEFAULT_REGION": DEFAULT_REGION,  # boto3 reads this one
    }
