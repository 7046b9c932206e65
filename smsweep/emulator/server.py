"""Start and stop of the emulator."""

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
from smsweep.emulator.api.access_keys import AccessKey, AccessKeys
from smsweep.emulator.api.admin import Admin
from smsweep.emulator.api.app import App
from smsweep.emulator.api.batch_api import ServiceJobs
from smsweep.emulator.api.listen import listening, serving
from smsweep.emulator.api.sagemaker_api import SageMakerApi
from smsweep.emulator.api.training_jobs import TrainingJobs
from smsweep.emulator.call_log import CallLog
from smsweep.emulator.fault_injector import FaultInjector
from smsweep.emulator.faults import Faults
from smsweep.emulator.jobs.environment import client_environment, job_environment
from smsweep.emulator.jobs.job import Job
from smsweep.emulator.jobs.job_table import JobTable
from smsweep.emulator.jobs.lifecycle import JobLifecycle
from smsweep.emulator.jobs.moto_services import MotoServices, moto_lifetime
from smsweep.emulator.jobs.network import DESKTOP_HOST, LOOPBACK
from smsweep.emulator.jobs.runner import running
from smsweep.emulator.jobs.s3 import S3
from smsweep.emulator.jobs.staging import Staging, StagingPaths
from smsweep.errors import UsageError

LOCK = "lock"  # file in the data folder, locked while an emulator runs
PRIVATE, OTHERS = 0o700, 0o077  # file mode of the folder; mode bits of other users
MakeBackend = Callable[[Path, Mapping[str, str]], Backend]  # (folder for jobs, environment of the jobs) -> backend


@dataclass(frozen=True, kw_only=True, slots=True)
class Emulator:
    """A running emulator. The access key and the token are new at each start."""

    url: str  # for AWS_ENDPOINT_URL
    access_key_id: str
    secret_access_key: str = field(repr=False)
    token: str = field(repr=False)  # for the routes below /_smsweep
    faults: FaultInjector
    ledger: CallLog
    region = DEFAULT_REGION

    @property
    def environ(self) -> dict[str, str]:
        """Environment variables that make AWS SDKs and tools use this emulator."""
        return client_environment(self.url, AccessKey(id=self.access_key_id, secret=self.secret_access_key))


@contextmanager
def open_emulator(
    folder: Path,
    make_backend: MakeBackend,
    environ: Mapping[str, str],
    clock: Callable[[], float],
    *,
    port: int = 0,
    job_host: str = LOOPBACK,
    has_toolkit: bool = False,
    faults: Faults | None = None,
) -> Iterator[Emulator]:
    """Run the emulator until the `with` block ends. Then stop all jobs and wait for them.

    Args:
        folder: Data folder for jobs and the call log, which later starts read. Services that moto emulates,
            S3 included, are kept in memory only.
        make_backend: Makes the backend that runs the jobs.
        environ: Environment variables, from which jobs inherit a few.
        clock: Returns seconds since the epoch.
        port: TCP port; 0 for a free port.
        job_host: Host name or address of this machine from inside a job.
        has_toolkit: True if jobs run in their images, whose SageMaker toolkit downloads the script.
        faults: Faults that are active from the start.

    Raises:
        UsageError: If the folder or the port is not available.
    """
    _create_folder(folder)
    keys = AccessKeys(clock)
    with ExitStack() as stack:
        stack.enter_context(_locked(folder))
        stack.enter_context(moto_lifetime())
        servers = [stack.enter_context(listening(LOOPBACK, port))]
        port = servers[0].port
        if job_host not in (LOOPBACK, DESKTOP_HOST):
            servers.append(stack.enter_context(listening(job_host, port)))
        emulator = Emulator(
            url=f"http://{LOOPBACK}:{port}",
            access_key_id=keys.user.id,
            secret_access_key=keys.user.secret,
            token=secrets.token_urlsafe(16),
            faults=FaultInjector(faults or Faults(), time.monotonic),
            ledger=stack.enter_context(closing(CallLog(folder / "ledger.jsonl"))),
        )
        paths = StagingPaths(
            runs=folder / "runs",
            checkpoints=folder / "checkpoints",
            job_url=f"http://{job_host}:{port}",
            has_toolkit=has_toolkit,
        )
        s3 = S3(client_environment(emulator.url, keys.internal), folder / "cache")
        job_environ = job_environment(environ, paths.job_url, keys.jobs, in_containers=has_toolkit)
        if has_toolkit:
            job_environ["SMSWEEP_DOCKER_COPY_CHANNELS"] = "1"
        backend = make_backend(paths.runs, job_environ)
        stack.enter_context(closing(backend))
        table, moto_services = JobTable(folder / "jobs"), MotoServices()
        lifecycle = JobLifecycle(table, backend, Staging(paths, s3), moto_services, emulator.faults, clock)
        for server in servers:
            stack.enter_context(serving(server))
        runner = stack.enter_context(running(table, backend, lifecycle, clock))

        def on_change(job: Job) -> None:
            lifecycle.announce(job)
            runner.wake()

        jobs = TrainingJobs(table, emulator.faults, s3.has_objects, clock, on_change, runner.forget)
        app = App(
            Access(keys, emulator.url, {"localhost", job_host}, clock),
            keys.internal.id,
            SageMakerApi(table, jobs, emulator.faults, clock),
            ServiceJobs(table, jobs, clock),
            moto_services,
            Admin(emulator.faults, emulator.ledger, emulator.token),
            emulator.faults,
            emulator.ledger,
            DomainDispatcherApplication(create_backend_app),
            clock,
        )
        for server in servers:
            server.app = app
        yield emulator


def _create_folder(folder: Path) -> None:
    """Create the data folder, which only its owner can read.

    The mode of an existing folder is changed if the folder is empty, or is a data folder already.

    Raises:
        UsageError: If the folder belongs to another user, or holds other files and is open to other users.
    """
    try:
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=PRIVATE, exist_ok=True)
            (folder / ".gitignore").write_text("*\n")  # excludes the folder from the source of a sweep around it
        found = folder.stat()
    except OSError as err:
        raise UsageError(f"{folder}: {os.strerror(err.errno or 0)}; use another --dir") from err
    if found.st_uid != os.geteuid():
        raise UsageError(f"{folder}: the folder belongs to another user; use another --dir")
    if stat.S_IMODE(found.st_mode) & OTHERS:
        if any(folder.iterdir()) and not (folder / LOCK).exists():
            raise UsageError(
                f"{folder}: other users can read this folder; run `chmod 700 {folder}`, or use another --dir"
            )
        folder.chmod(PRIVATE)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock the folder for this emulator. Raises UsageError if another emulator has locked it."""
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as err:
        raise UsageError(f"{folder}: another emulator uses this folder; stop it, or use another --dir") from err
    finally:
        os.close(lock)
