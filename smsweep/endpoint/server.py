"""The endpoint as a whole: built, served, and shut down so that nothing of it is left."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import BaseWSGIServer, make_server

from smsweep.backends.base import Backend
from smsweep.endpoint.account import DEFAULT_REGION, OWN_KEY
from smsweep.endpoint.admin import Admin
from smsweep.endpoint.api import SageMakerApi
from smsweep.endpoint.app import App
from smsweep.endpoint.cloud import Cloud
from smsweep.endpoint.course import Course
from smsweep.endpoint.fault_box import FaultBox
from smsweep.endpoint.faults import Faults
from smsweep.endpoint.job import Job
from smsweep.endpoint.job_table import JobTable
from smsweep.endpoint.ledger import Ledger
from smsweep.endpoint.runner import Runner
from smsweep.endpoint.s3 import S3
from smsweep.endpoint.staging import Site, Staging
from smsweep.endpoint.training_jobs import TrainingJobs

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

LOOPBACK = "127.0.0.1"
CLOSE_GRACE_S = 5.0  # jobs get it between SIGTERM and SIGKILL when the endpoint is closed

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


class _Handler(MotoRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass  # the ledger has it


class Endpoint:
    """Serves from `start` (or entering) until `close` (or leaving).

    folder: keeps jobs and ledger from one start to the next; what moto plays (S3 too) lives in memory.
    gateway: another address of this machine to listen on, by which containers reach it; "" for none.
    has_toolkit: jobs run in their images. clock: seconds since the epoch.
    """

    def __init__(
        self,
        folder: Path,
        make_backend: MakeBackend,
        environ: Mapping[str, str],
        clock: Callable[[], float],
        *,
        port: int = 0,
        gateway: str = "",
        has_toolkit: bool = False,
        faults: Faults | None = None,
    ) -> None:
        self.token = secrets.token_urlsafe(16)
        self.faults = FaultBox(faults or Faults(), time.monotonic)
        folder.mkdir(parents=True, exist_ok=True)
        self._servers = [_listen(LOOPBACK, port)]
        self.port = self._servers[0].server_port
        self.url = f"http://{LOOPBACK}:{self.port}"
        if gateway:
            self._servers.append(_listen(gateway, self.port))
        self.ledger = Ledger(folder / "ledger.jsonl")
        table = JobTable(folder / "jobs")
        site = Site(
            runs=folder / "runs",
            checkpoints=folder / "checkpoints",
            job_url=f"http://{gateway or LOOPBACK}:{self.port}",
            has_toolkit=has_toolkit,
        )
        s3 = S3(_environment(environ, self.url, OWN_KEY), folder / "cache")
        self._backend = make_backend(site.runs, _environment(environ, site.job_url, "SMSWEEPJOB"))
        cloud = Cloud()
        course = Course(table, self._backend, Staging(site, s3), cloud, self.faults, clock)
        self._runner = Runner(table, self._backend, course, clock)

        def on_change(job: Job) -> None:
            course.announce(job)
            self._runner.wake()

        jobs = TrainingJobs(table, self.faults, s3.has_objects, clock, on_change, self._runner.forget)
        app = App(
            SageMakerApi(table, jobs, self.faults, clock),
            cloud,
            Admin(self.faults, self.ledger, self.token),
            self.faults,
            self.ledger,
            DomainDispatcherApplication(create_backend_app),
            clock,
        )
        for server in self._servers:
            server.app = app

    def start(self) -> None:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        self._runner.start()

    def close(self) -> None:
        """Stop the jobs and see them to their end, then stop serving."""
        self._runner.close(CLOSE_GRACE_S)
        self._backend.close()
        for server in self._servers:
            server.shutdown()
            server.server_close()
        self.ledger.close()

    def __enter__(self) -> Endpoint:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _listen(host: str, port: int) -> BaseWSGIServer:
    """Raises OSError when the port is taken."""
    return make_server(host, port, _not_ready, threaded=True, request_handler=_Handler)


def _not_ready(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("503 Service Unavailable", [])
    return []


def _environment(environ: Mapping[str, str], url: str, key: str) -> dict[str, str]:
    """Return environ with this endpoint in AWS's place."""
    kept = {
        name: value
        for name, value in environ.items()
        if name not in FOREIGN and not name.startswith("AWS_ENDPOINT_URL")
    }
    return {
        **kept,
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_REGION": DEFAULT_REGION,
        "AWS_DEFAULT_REGION": DEFAULT_REGION,
    }
