"""Training jobs in containers on this machine's Docker Engine.

Each job has a folder with its complete state. Each running job has a supervisor: a thread that prepares the job,
starts it, watches it and collects its results. The supervisor runs in the process that holds the folder's lock. If
that process is killed, the next process that asks for the job's status starts a new supervisor.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from pathlib import Path

from smsweep.backends.base import BackendSpec
from smsweep.backends.docker import containers
from smsweep.backends.docker.channels import check_channels
from smsweep.backends.docker.doctor import check_machine, check_python, diagnose
from smsweep.backends.docker.engine import DockerOptions, Engine, check_settings
from smsweep.backends.docker.images import prepare
from smsweep.backends.docker.job_start import DockerContext, needs_of
from smsweep.backends.docker.job_supervisor import JobSupervisor
from smsweep.backends.docker.requirements_image import PipSettings, RequirementsLayers, host_settings
from smsweep.backends.local.job_files import DamagedFile, read_page
from smsweep.backends.local.job_folder import JobFolder, StopOrder, find_jobs
from smsweep.backends.local.ledger import DOCKER, DeviceLedger
from smsweep.backends.local.opt_ml import open_to_all, write_tree
from smsweep.backends.local.request_fields import host_names
from smsweep.core.job import STOP_GRACE_S, JobStatus, LogPage, TrainingJobRequest
from smsweep.errors import BackendUnavailable
from smsweep.runtime.system import uptime_s

log = logging.getLogger(__name__)

START_UP_S = 1.0  # the kernel drops a SIGTERM to a PID 1 that has not installed its handler yet
CLOSE_S = 5.0  # limit for each supervisor to exit


class DockerBackend:
    """Runs each job in its own containers, with a folder below `root`.

    A script can write to the folder of its job. If a file there is damaged, only that job fails.

    Args:
        root: The folder that contains the jobs' folders.
        environ: The user's environment variables.
        clock: The time in seconds since the epoch.
        options: The settings. None means to read them from `environ`.
        uptime: The seconds since the machine was started. A change of the clock does not affect them.

    Raises:
        UsageError: If a setting is invalid.
    """

    def __init__(
        self,
        root: Path,
        environ: Mapping[str, str],
        clock: Callable[[], float],
        options: DockerOptions | None = None,
        uptime: Callable[[], float] = uptime_s,
    ) -> None:
        self._root = root.absolute()
        self._environ = environ
        self._clock = clock
        self._uptime = uptime
        self._options = options or DockerOptions.from_environ(environ)
        self._engine = Engine(environ)
        self._ledger = DeviceLedger(environ, DOCKER)
        self._supervisors: dict[str, JobSupervisor] = {}
        self._one_ended = threading.Event()
        self._ended: dict[str, JobStatus] = {}  # final statuses, which are read once
        self._max_runtime_s: dict[str, float] = {}  # per job, from its request

    @property
    def place(self) -> str:
        return f"docker@{socket.gethostname()}"

    def submit(self, request: TrainingJobRequest) -> None:
        folder = self._folder(request["TrainingJobName"])
        if not folder.exists():
            with self._engine.client():
                pass  # raises an error if the engine does not answer
            check_channels(request)
            if not (needs := needs_of(request, self._ledger)).is_empty:
                self._ledger.claim(folder, needs, len(host_names(request)))  # a job without devices has no folder
            folder.create(request, lambda draft: write_trees(draft, request))
        try:
            self._supervise(folder)
        except DamagedFile as err:
            self._abandon(folder, err)

    def describe(self, names: Collection[str]) -> dict[str, JobStatus]:
        statuses = {}
        for name in names:
            status = self._ended.get(name) or self._read_status(name)
            if status is not None:
                statuses[name] = status
        errors = {self._supervisors[name].engine_error for name in names if name in self._supervisors} - {""}
        if errors:
            raise BackendUnavailable("; ".join(sorted(errors)))
        return statuses

    def stop(self, name: str, *, grace_s: float | None = None) -> None:
        folder = self._folder(name)
        try:
            if name not in self._ended and folder.exists() and folder.ended() is None:
                self._order_stop(folder, "person", STOP_GRACE_S if grace_s is None else grace_s)
        except DamagedFile as err:
            self._abandon(folder, err)

    def read_logs(self, name: str, cursor: str = "") -> LogPage:
        folder = self._folder(name)
        if not folder.exists():
            return LogPage(lines=(), cursor=cursor)
        try:
            # Before reading: later lines are on the next page.
            is_complete = name in self._ended or folder.ended() is not None
            return read_pages(folder.logs(), cursor, is_complete=is_complete)
        except DamagedFile as err:
            log.warning("%s: %s", name, err)
            return LogPage(lines=(), cursor=cursor, is_last=True)

    def forget(self, name: str) -> None:
        # Logs, model and output stay for the user.
        folder = self._folder(name)
        for part in ("ml/code", "shards"):
            shutil.rmtree(folder.path / part, ignore_errors=True)
        self._ended.pop(name, None)
        self._max_runtime_s.pop(name, None)

    def wait(self, timeout_s: float) -> None:
        if self._one_ended.wait(timeout_s):
            self._one_ended.clear()

    def close(self) -> None:
        for supervisor in self._supervisors.values():
            supervisor.close()
        for supervisor in self._supervisors.values():
            supervisor.join(CLOSE_S)
        self._supervisors.clear()
        self._ledger.close()

    def _folder(self, name: str) -> JobFolder:
        return JobFolder(self._root / name)

    @cached_property
    def _context(self) -> DockerContext:
        cache = self._root.parent / "cache"
        with suppress(OSError):  # a job that needs the folder reports the error
            cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings = host_settings(self._environ) if self._options.passes_pip_settings else PipSettings(environ={})
        layers = RequirementsLayers(cache / "requirements", settings, self._engine.facts)
        with self._engine.client() as client:
            layers.remove_leftovers(client)
        return DockerContext(
            engine=self._engine,
            options=self._options,
            layers=layers,
            environ=self._environ,
            clock=self._clock,
            uptime=self._uptime,
            cache=cache,
            ledger=self._ledger,
            owner=(os.getuid(), os.getgid()),
        )

    def _supervise(self, folder: JobFolder) -> JobSupervisor | None:
        """Return the job's supervisor, or start it. None if another process has it, or the job has ended."""
        supervisor = self._supervisors.get(folder.name)
        if supervisor is not None and (supervisor.is_alive() or supervisor.broken is not None):
            return supervisor
        lock = folder.lock()
        if lock is None:
            return None
        if folder.ended() is not None:
            os.close(lock)
            return None
        supervisor = self._supervisors[folder.name] = JobSupervisor(
            folder, lock, self._context, self._one_ended.set
        )
        supervisor.start()
        return supervisor

    def _read_status(self, name: str) -> JobStatus | None:
        folder = self._folder(name)
        try:
            return self._status(folder)
        except DamagedFile as err:
            return self._abandon(folder, err)

    def _status(self, folder: JobFolder) -> JobStatus | None:
        name = folder.name
        if not folder.exists():
            return None
        status = folder.ended()
        if status is not None:
            self._ended[name] = status
            self._supervisors.pop(name, None)
            return status
        supervisor = self._supervise(folder)
        if supervisor is not None and supervisor.broken is not None:
            raise supervisor.broken
        status = supervisor.status if supervisor else folder.status()
        order = folder.stop_order()
        if order is not None:
            self._enforce(folder, order, status)
        elif self._is_overdue(folder, status) and self._is_running(folder):
            self._order_stop(folder, "max_runtime", STOP_GRACE_S)
        else:
            return status
        return replace(status, status="Stopping", secondary_status="Stopping")

    def _abandon(self, folder: JobFolder, err: DamagedFile) -> JobStatus:
        """Remove the containers of a job whose folder is damaged, and let its trial fail."""
        log.warning("%s: %s", folder.name, err)
        supervisor = self._supervisors.pop(folder.name, None)
        if supervisor is not None:
            supervisor.close()
        with self._engine.client() as client:
            for container in containers.find(client, folder.path):
                containers.remove(client, container["Id"])
        status = JobStatus(name=folder.name, status="Failed", secondary_status="Failed", failure_reason=str(err))
        self._ended[folder.name] = status
        return status

    def _age_s(self, folder: JobFolder, started_at: datetime) -> float:
        return folder.age_s(started_at, uptime_s=self._uptime(), now_s=self._clock())

    def _is_overdue(self, folder: JobFolder, status: JobStatus) -> bool:
        if status.started_at is None:
            return False
        if folder.name not in self._max_runtime_s:
            self._max_runtime_s[folder.name] = folder.max_runtime_s()
        return self._age_s(folder, status.started_at) > self._max_runtime_s[folder.name]

    def _is_running(self, folder: JobFolder) -> bool:
        """Return True if a container of the job runs. One that has ended may have ended within the limit."""
        with self._engine.client() as client:
            return any(container["State"] == "running" for container in containers.find(client, folder.path))

    def _order_stop(self, folder: JobFolder, by: str, grace_s: float) -> None:
        """Store the order and carry it out. The first order sets `by`; the earliest SIGKILL applies."""
        kill_at_s = self._uptime() + grace_s
        order = folder.stop_order() or StopOrder(by=by, kill_at_s=kill_at_s)
        order = replace(order, kill_at_s=min(order.kill_at_s, kill_at_s))
        folder.write_stop_order(order)  # before the signal, so that a crash does not lose the order
        self._enforce(folder, order, folder.status())

    def _enforce(self, folder: JobFolder, order: StopOrder, status: JobStatus) -> None:
        """Send the signal that is due. Before the start, the supervisor reads the order and does not start."""
        if status.started_at is None or status.secondary_status != "Training":
            return
        age_s = self._age_s(folder, status.started_at)
        if self._uptime() >= order.kill_at_s:
            self._send(folder, "SIGKILL")
        elif not order.is_sent and (age_s >= START_UP_S or folder.has_output()):
            folder.write_stop_order(replace(order, is_sent=True))
            self._send(folder, "SIGTERM")

    def _send(self, folder: JobFolder, signal: str) -> None:
        with self._engine.client() as client:
            for host in host_names(folder.request()):
                containers.send(client, containers.container_name(folder.name, host), signal)


def write_trees(folder: JobFolder, request: TrainingJobRequest) -> None:
    """Create the /opt/ml of each host. Every user of a container can write to it."""
    hosts = host_names(request)
    for host in hosts:
        write_tree(folder.ml(host), request, hosts, host)
        open_to_all(folder.ml(host), folders=0o777, files=0o644)


def read_pages(files: Sequence[Path], cursor: str, *, is_complete: bool) -> LogPage:
    """Read one page of each file. The cursor is the list of their cursors, separated by commas."""
    cursors = cursor.split(",") if cursor else [""] * len(files)
    pages = [read_page(file, at, is_complete=is_complete) for file, at in zip(files, cursors, strict=True)]
    return LogPage(
        lines=tuple(line for page in pages for line in page.lines),
        cursor=",".join(page.cursor for page in pages) if any(page.cursor for page in pages) else cursor,
        is_last=all(page.is_last for page in pages),
    )


SPEC = BackendSpec(
    open=lambda context: DockerBackend(context.jobs_dir, context.environ, context.clock),
    prepare=prepare,
    check_settings=check_settings,
    check_machine=check_machine,
    check_python=check_python,
    find_jobs=find_jobs,
    diagnose=diagnose,
    is_local=True,
    uses_images=True,
    reads_s3=True,
)
