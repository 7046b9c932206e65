"""The endpoint as a whole: built, served, and shut down so that nothing of it is left."""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from smsweep.backends.base import Backend
from smsweep.endpoint.account import DEFAULT_REGION, JOB_KEY, OWN_KEY
from smsweep.endpoint.admin import Admin
from smsweep.endpoint.api import SageMakerApi
from smsweep.endpoint.app import App
from smsweep.endpoint.cloud import Cloud, life
from smsweep.endpoint.course import Course
from smsweep.endpoint.fault_box import FaultBox
from smsweep.endpoint.faults import Faults
from smsweep.endpoint.job import Job
from smsweep.endpoint.job_network import DESKTOP_HOST, LOOPBACK
from smsweep.endpoint.job_table import JobTable
from smsweep.endpoint.ledger import Ledger
from smsweep.endpoint.listen import listening, serving
from smsweep.endpoint.runner import running
from smsweep.endpoint.s3 import S3
from smsweep.endpoint.service_jobs import ServiceJobs
from smsweep.endpoint.staging import Site, Staging
from smsweep.endpoint.training_jobs import TrainingJobs
from smsweep.errors import UsageError

# The user's own AWS: no job on this machine is to see it by accident.
FOREIGN = (
    "AWS_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)

MakeBackend = Callable[[Path, Mapping[str, str]], Backend]  # (folder for jobs, their environment) -> backend


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """What is to know of an endpoint that serves."""

    url: str  # for AWS_ENDPOINT_URL
    token: str  # for its own routes
    faults: FaultBox
    ledger: Ledger


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
    with ExitStack() as stack:
        stack.enter_context(_locked(folder))
        stack.enter_context(life())
        servers = [stack.enter_context(listening(LOOPBACK, port))]
        port = servers[0].port
        if job_host not in (LOOPBACK, DESKTOP_HOST):
            servers.append(stack.enter_context(listening(job_host, port)))
        endpoint = Endpoint(
            url=f"http://{LOOPBACK}:{port}",
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
        s3 = S3(aws_environment(environ, endpoint.url, OWN_KEY), folder / "cache")
        job_environ = {**aws_environment(environ, site.job_url, JOB_KEY), "SMSWEEP_DOCKER_COPY_CHANNELS": "1"}
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
    """Make the folder unless it is there; one that we make is no part of a sweep's source around it."""
    if not folder.exists():
        folder.mkdir(parents=True)
        (folder / ".gitignore").write_text("*\n")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Take the folder for this endpoint alone. Raises UsageError."""
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as err:
        raise UsageError(
            f"{folder}: another endpoint works there; stop it, or give this one another --dir"
        ) from err
    finally:
        os.close(lock)


def aws_environment(environ: Mapping[str, str], url: str, key: str) -> dict[str, str]:
    """Return environ with an endpoint in AWS's place. key: access key id."""
    kept = {
        name: value
        for name, value in environ.items()
        if name not in FOREIGN and not name.startswith("AWS_ENDPOINT_URL")
    }
    return {
        **kept,
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": "none",  # there is none # nosec B105
        "AWS_REGION": DEFAULT_REGION,
        "AWS_DEFAULT_REGION": DEFAULT_REGION,
    }
