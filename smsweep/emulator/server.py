"""The endpoint as a whole: built, served, and shut down so that nothing of it is left."""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from smsweep.backends.base import Backend
from smsweep.emulator.account import DEFAULT_REGION
from smsweep.emulator.api.access import Access
from smsweep.emulator.api.access_keys import AccessKey, Keys
from smsweep.emulator.api.admin import Admin
from smsweep.emulator.api.app import App
from smsweep.emulator.api.batch_api import ServiceJobs
from smsweep.emulator.api.listen import listening, serving
from smsweep.emulator.api.sagemaker_api import SageMakerApi
from smsweep.emulator.api.training_jobs import TrainingJobs
from smsweep.emulator.call_log import Ledger
from smsweep.emulator.fault_injector import FaultBox
from smsweep.emulator.faults import Faults
from smsweep.emulator.jobs.environment import client_environment, job_environment
from smsweep.emulator.jobs.job import Job
from smsweep.emulator.jobs.job_table import JobTable
from smsweep.emulator.jobs.lifecycle import Course
from smsweep.emulator.jobs.moto_services import Cloud, life
from smsweep.emulator.jobs.network import DESKTOP_HOST, LOOPBACK
from smsweep.emulator.jobs.runner import running
from smsweep.emulator.jobs.s3 import S3
from smsweep.emulator.jobs.staging import Site, Staging
from smsweep.errors import UsageError

LOCK = "lock"  # file in the data folder, held while an endpoint serves
PRIVATE, OTHERS = 0o700, 0o077  # modes
MakeBackend = Callable[[Path, Mapping[str, str]], Backend]  # (folder for jobs, their environment) -> backend


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """An endpoint that serves. Key and token are new at each start."""

    url: str  # for AWS_ENDPOINT_URL
    access_key_id: str
    secret_access_key: str = field(repr=False)
    token: str = field(repr=False)  # for its own routes
    faults: FaultBox
    ledger: Ledger
    region = DEFAULT_REGION

    @property
    def environ(self) -> dict[str, str]:
        """The environment variables by which AWS's SDKs and tools use this endpoint."""
        return client_environment(self.url, AccessKey(id=self.access_key_id, secret=self.secret_access_key))


@contextmanager
def open_endpoint(
    folder: Path,
    make_backend: MakeBackend,
    environ: Mapping[str, str],
    clock: Callable[[], float],
    *,
    port: int = 0,
    job_host: str = LOOPBACK,
    has_toolkit: bool = False,
    faults: Faults | None = None,
) -> Iterator[Endpoint]:
    """Serve while the `with` lasts; at its end jobs are stopped and seen to their end.

    folder: keeps jobs and ledger from one start to the next; what moto plays (S3 too) lives in memory.
    port: 0 for a free one. job_host: by which jobs know this machine. has_toolkit: they run in their images.
    clock: seconds since the epoch. Raises UsageError.
    """
    _make(folder)
    keys = Keys(clock)
    with ExitStack() as stack:
        stack.enter_context(_locked(folder))
        stack.enter_context(life())
        servers = [stack.enter_context(listening(LOOPBACK, port))]
        port = servers[0].port
        if job_host not in (LOOPBACK, DESKTOP_HOST):
            servers.append(stack.enter_context(listening(job_host, port)))
        endpoint = Endpoint(
            url=f"http://{LOOPBACK}:{port}",
            access_key_id=keys.user.id,
            secret_access_key=keys.user.secret,
            token=secrets.token_urlsafe(16),
            faults=FaultBox(faults or Faults(), time.monotonic),
            ledger=stack.enter_context(closing(Ledger(folder / "ledger.jsonl"))),
        )
        site = Site(
            runs=folder / "runs",
            checkpoints=folder / "checkpoints",
            job_url=f"http://{job_host}:{port}",
            has_toolkit=has_toolkit,
        )
        s3 = S3(client_environment(endpoint.url, keys.internal), folder / "cache")
        job_environ = job_environment(environ, site.job_url, keys.jobs, in_containers=has_toolkit)
        if has_toolkit:
            job_environ["SMSWEEP_DOCKER_COPY_CHANNELS"] = "1"
        backend = make_backend(site.runs, job_environ)
        stack.enter_context(closing(backend))
        table, cloud = JobTable(folder / "jobs"), Cloud()
        course = Course(table, backend, Staging(site, s3), cloud, endpoint.faults, clock)
        for server in servers:
            stack.enter_context(serving(server))
        runner = stack.enter_context(running(table, backend, course, clock))

        def on_change(job: Job) -> None:
            course.announce(job)
            runner.wake()

        jobs = TrainingJobs(table, endpoint.faults, s3.has_objects, clock, on_change, runner.forget)
        app = App(
            Access(keys, endpoint.url, {"localhost", job_host}, clock),
            keys.internal.id,
            SageMakerApi(table, jobs, endpoint.faults, clock),
            ServiceJobs(table, jobs, clock),
            cloud,
            Admin(endpoint.faults, endpoint.ledger, endpoint.token),
            endpoint.faults,
            endpoint.ledger,
            DomainDispatcherApplication(create_backend_app),
            clock,
        )
        for server in servers:
            server.app = app
        yield endpoint


def _make(folder: Path) -> None:
    """Make the data folder, for its owner alone: jobs, their files and the ledger are in it.

    A folder that exists is closed to other users if it is empty, or was a data folder before.

    Raises:
        UsageError: If the folder belongs to another user, or holds other files and is open to other users.
    """
    try:
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=PRIVATE, exist_ok=True)
            (folder / ".gitignore").write_text("*\n")  # it is no part of a sweep's source around it
        found = folder.stat()
    except OSError as err:
        raise UsageError(f"{folder}: {os.strerror(err.errno or 0)}; give another --dir") from err
    if found.st_uid != os.geteuid():
        raise UsageError(f"{folder}: the folder belongs to another user; give another --dir")
    if stat.S_IMODE(found.st_mode) & OTHERS:
        if any(folder.iterdir()) and not (folder / LOCK).exists():
            raise UsageError(
                f"{folder}: other users may enter this folder; run `chmod 700 {folder}`, or give another --dir"
            )
        folder.chmod(PRIVATE)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Take the folder for this endpoint alone. Raises UsageError."""
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as err:
        raise UsageError(
            f"{folder}: another endpoint works there; stop it, or give this one another --dir"
        ) from err
    finally:
        os.close(lock)
