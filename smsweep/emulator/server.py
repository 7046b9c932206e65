"""Start and stop of the emulator, and its HTTP server on one address of this machine."""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import BaseWSGIServer, make_server

from smsweep.backends.base import Backend
from smsweep.emulator.api.access import Access, AccessKey, AccessKeys
from smsweep.emulator.api.app import Admin, App
from smsweep.emulator.api.batch_api import ServiceJobs
from smsweep.emulator.api.training_jobs import SageMakerApi, TrainingJobs
from smsweep.emulator.api.tuning_jobs import TuningJobs
from smsweep.emulator.api_error import DEFAULT_REGION
from smsweep.emulator.faults import CallLog, FaultInjector, Faults
from smsweep.emulator.jobs.job import Job, JobTable
from smsweep.emulator.jobs.lifecycle import JobLifecycle
from smsweep.emulator.jobs.moto_services import DESKTOP_HOST, LOOPBACK, MotoServices, moto_lifetime
from smsweep.emulator.jobs.runner import client_environment, job_environment, running
from smsweep.emulator.jobs.staging import S3, Staging, StagingPaths
from smsweep.emulator.jobs.tuner import Tuner
from smsweep.emulator.jobs.tuning_job import TuningTable
from smsweep.errors import UsageError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

LOCK = "lock"  # file in the data folder, locked while an emulator runs
PRIVATE, OTHERS = 0o700, 0o077  # file mode of the folder; mode bits of other users
MakeBackend = Callable[[Path, Mapping[str, str]], Backend]  # (folder for jobs, environment of the jobs) -> backend
BACKLOG = 512  # waiting connections: a sweep opens many at the same time
POLL_S = 0.1  # between two checks for a shutdown


class _Handler(MotoRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass  # the call log has all requests


@contextmanager
def listening(host: str, port: int) -> Iterator[BaseWSGIServer]:
    """Open a TCP port. Requests wait until `serving` starts.

    Args:
        host: Address of this machine.
        port: TCP port; 0 for a free port.

    Raises:
        UsageError: If the port is not available.
    """
    try:
        opened = socket.create_server((host, port), backlog=BACKLOG)  # werkzeug exits if the port is in use
    except OSError as err:
        raise UsageError(
            f"{host}:{port}: {os.strerror(err.errno or 0)}; use another --port, or 0 for a free port"
        ) from err
    with opened:
        server = make_server(host, port, _not_ready, threaded=True, request_handler=_Handler, fd=opened.fileno())
    try:
        yield server
    finally:
        server.server_close()


@contextmanager
def serving(server: BaseWSGIServer) -> Iterator[None]:
    """Handle requests, each in a thread, until the `with` block ends."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": POLL_S}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


def _not_ready(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("503 Service Unavailable", [])
    return []


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
        tuning_table = TuningTable(folder / "tuning-jobs", table.lock)
        tuner = Tuner(tuning_table, table, jobs, clock)
        tuning_jobs = TuningJobs(tuning_table, table, emulator.faults, s3.has_objects, clock, tuner.wake)
        tuning_table.on_status = lambda record: moto_services.announce_tuning(
            record, tuning_jobs.event_detail, times=emulator.faults.n_deliveries
        )
        app = App(
            Access(keys, emulator.url, {"localhost", job_host}, clock),
            keys.internal.id,
            SageMakerApi(table, jobs, tuning_table, tuning_jobs, emulator.faults, clock),
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
        stack.enter_context(tuner.running())  # last, because it reads from S3
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
        status = folder.stat()
    except OSError as err:
        raise UsageError(f"{folder}: {os.strerror(err.errno or 0)}; use another --dir") from err
    if status.st_uid != os.geteuid():
        raise UsageError(f"{folder}: the folder belongs to another user; use another --dir")
    if stat.S_IMODE(status.st_mode) & OTHERS:
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
