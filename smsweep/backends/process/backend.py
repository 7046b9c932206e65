"""Jobs as processes on this machine, each in a folder that has the layout of /opt/ml.

A job continues after the agent that started it has exited. Its folder has everything that the next agent needs.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import socket
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from smsweep.backends.base import BackendSpec
from smsweep.backends.local import request_fields
from smsweep.backends.local.devices import check_machine, device_variables
from smsweep.backends.local.job_files import DamagedFile, open_file, read_page
from smsweep.backends.local.job_folder import JobFolder, StopOrder, kill_processes
from smsweep.backends.local.ledger import PROCESS, DeviceLedger
from smsweep.backends.local.opt_ml import local_channels, local_checkpoints, write_tree
from smsweep.backends.local.request_fields import host_names
from smsweep.backends.process.fork_client import ForkClient, ended_status, signal_job
from smsweep.core.job import STOP_GRACE_S, JobStatus, JobTemplate, LogPage, Site, TrainingJobRequest
from smsweep.core.resources import resources_of
from smsweep.errors import BackendUnavailable, JobRejected
from smsweep.runtime.system import uptime_s
from smsweep.secrets.redact import check_local_secrets, secret_values

log = logging.getLogger(__name__)

POLL_S = 0.2  # between two polls of a running job, while the fork server reports which jobs end
BUSY_POLL_S = 0.5  # the same while other jobs end: their slots are empty until the agent has stored the ends
QUIT_PAUSE_S = 1.0  # between two SIGQUITs: on a busy machine, more of them overrun the entrypoint's handler
TOOL_FILES = ("pipx_metadata.json", "uv-receipt.toml")  # in an environment that holds one command-line tool


class ProcessBackend:
    """Runs the entrypoint of each job in a folder below `root`.

    A script can write to the folder of its job. If a file there is damaged, only that job fails.

    Args:
        root: The folder that contains the jobs' folders.
        runtime_zip: The program that runs inside a job.
        environ: The environment variables that jobs inherit.
        clock: The time in seconds since the epoch. Used only for jobs without an `uptime` file.
        uptime: The seconds since the machine was started.
    """

    def __init__(
        self,
        root: Path,
        runtime_zip: Path,
        environ: Mapping[str, str],
        clock: Callable[[], float],
        uptime: Callable[[], float] = uptime_s,
    ) -> None:
        self._root = root.absolute()
        self._environ = job_environment(environ)
        with contextlib.suppress(FileNotFoundError):  # the working directory was deleted
            self._environ["SMSWEEP_STARTED_IN"] = str(Path.cwd())
        self._clock = clock
        self._uptime = uptime
        self._server = ForkClient(runtime_zip.absolute())
        self._has_waited = False  # since the last `describe`
        self._events: set[str] = set()  # names of jobs that have ended, by the fork server's reports
        self._polled: dict[str, tuple[float, JobStatus]] = {}  # of running jobs: uptime, result
        self._skipped: set[str] = set()  # names of jobs that the last `describe` did not poll
        self._ledger = DeviceLedger(environ, PROCESS)
        self._started: set[str] = set()  # names of jobs that were seen to run
        self._ended: dict[str, JobStatus] = {}  # final statuses, which are read once
        self._max_runtime_s: dict[str, float] = {}  # per job, from its request
        self._quit_at_s: dict[str, float] = {}  # per job, the uptime when SIGQUIT was sent last

    @property
    def place(self) -> str:
        return f"process@{socket.gethostname()}"

    def submit(self, request: TrainingJobRequest) -> None:
        folder = self._folder(request["TrainingJobName"])
        if not folder.has_started():
            order = self._claim(folder, request)  # first: a job without devices has no folder
            try:
                if not os.path.lexists(folder.path):
                    create_folder(folder, request)
                self._start(folder, request, order)
            finally:
                self._ledger.release(folder)  # the job holds its claim now
        self._started.add(folder.name)

    def describe(self, names: Collection[str]) -> dict[str, JobStatus]:
        """Return the status of each known job. See `base.Backend`.

        The end of one job wakes the agent. Then only that job is polled, and others if their last poll is old.
        """
        now_s, has_waited, self._has_waited = self._uptime(), self._has_waited, False
        self._skipped = {name for name in names if has_waited and self._is_current(name, now_s)}
        statuses = {}
        for name in names:
            status = self._ended.get(name)
            if name in self._skipped:
                status = self._polled[name][1]
            elif status is None:
                status = self._read_status(name)
                self._events.discard(name)
                if status is not None and not status.is_terminal:
                    self._polled[name] = now_s, status
            if status is not None:
                statuses[name] = status
        return statuses

    def _is_current(self, name: str, now_s: float) -> bool:
        polled_s, _ = self._polled.get(name, (-math.inf, None))
        return name not in self._events and now_s - polled_s < (BUSY_POLL_S if self._events else POLL_S)

    def stop(self, name: str, *, grace_s: float | None = None) -> None:
        folder = self._folder(name)
        self._polled.pop(name, None)
        try:
            self._order_stop(folder, "person", STOP_GRACE_S if grace_s is None else grace_s)
        except DamagedFile as err:
            self._abandon(folder, err)

    def read_logs(self, name: str, cursor: str = "") -> LogPage:
        if name in self._skipped:
            return LogPage(lines=(), cursor=cursor, is_last=True)
        folder = self._folder(name)
        try:
            has_ended = not folder.is_alive()  # before reading: later lines are on the next page
        except DamagedFile:
            has_ended = True
        try:
            return read_page(folder.log(), cursor, is_complete=has_ended or name in self._ended)
        except DamagedFile as err:
            log.warning("%s: %s", name, err)
            return LogPage(lines=(), cursor=cursor, is_last=True)

    def forget(self, name: str) -> None:
        # The folder stays for the user: log, model, and the files that the script wrote.
        self._ended.pop(name, None)
        self._started.discard(name)
        self._quit_at_s.pop(name, None)
        self._polled.pop(name, None)
        self._max_runtime_s.pop(name, None)

    def wait(self, timeout_s: float) -> None:
        self._events.update(Path(folder).name for folder in self._server.wait(timeout_s))
        self._has_waited = True

    def close(self) -> None:
        self._server.close()

    def _folder(self, name: str) -> JobFolder:
        return JobFolder(self._root / name)

    def _claim(self, folder: JobFolder, request: TrainingJobRequest) -> dict[str, Any]:
        """Claim the job's devices, and return the part of the fork server's order that is about them."""
        needs = resources_of(request)
        if needs.is_empty:
            return {"environ": {}}
        claim, _ = self._ledger.claim(folder, needs)
        variables = device_variables(claim.host_gpus())
        return {"environ": variables, "claim": str(self._ledger.path(folder)), "cpus": list(claim.cpus)}

    def _start(self, folder: JobFolder, request: TrainingJobRequest, order: Mapping[str, Any]) -> None:
        environ = {
            **self._environ,
            **order["environ"],
            **request.get("Environment", {}),
            **secret_values(request, self._environ),
            "SMSWEEP_ML_ROOT": str(folder.ml()),
            "TRAINING_JOB_NAME": folder.name,
        }
        arguments = request.get("AlgorithmSpecification", {}).get("ContainerArguments", [])
        answer = self._server.ask({**order, "folder": str(folder.path), "argv": arguments, "environ": environ})
        if "refused" in answer:
            raise JobRejected(f"cannot start job {folder.name}: {answer['refused']}")
        if "error" in answer:
            raise BackendUnavailable(f"cannot start job {folder.name}: {answer['error']}")

    def _read_status(self, name: str) -> JobStatus | None:
        folder = self._folder(name)
        try:
            status = self._status(folder)
        except DamagedFile as err:
            return self._abandon(folder, err)
        if status is not None and status.is_terminal:
            self._ended[name] = status
        return status

    def _status(self, folder: JobFolder) -> JobStatus | None:
        name, started_at = folder.name, folder.started_at()
        if started_at is None:
            has_started = folder.has_started()
            if not has_started and folder.is_alive():  # another agent is starting it
                return JobStatus(name=name, status="InProgress", secondary_status="Starting")
            if has_started or name in self._started:
                raise DamagedFile(folder.path / "pid", "missing")  # starting the job again would run it twice
            return None
        self._started.add(name)
        is_alive, order = folder.is_alive(), folder.stop_order()
        if not is_alive:
            return ended_status(folder, order, started_at)
        with contextlib.suppress(FileNotFoundError):
            os.close(open_file(folder.log(), os.O_RDONLY))  # raises DamagedFile
        if order is not None:
            self._enforce(folder, order)
            return JobStatus(name=name, status="Stopping", secondary_status="Stopping", started_at=started_at)
        age_s = folder.age_s(started_at, uptime_s=self._uptime(), now_s=self._clock())
        if age_s > self._limit_s(folder):
            self._order_stop(folder, "max_runtime", STOP_GRACE_S)
        return JobStatus(name=name, status="InProgress", secondary_status="Training", started_at=started_at)

    def _abandon(self, folder: JobFolder, err: DamagedFile) -> JobStatus:
        """Kill a job whose folder is damaged, as far as its processes can be found. Its trial fails."""
        log.warning("%s: %s", folder.name, err)
        with contextlib.suppress(DamagedFile, BackendUnavailable):
            signal_job(folder, signal.SIGQUIT)
        kill_processes(folder)
        status = JobStatus(name=folder.name, status="Failed", secondary_status="Failed", failure_reason=str(err))
        self._ended[folder.name] = status
        return status

    def _order_stop(self, folder: JobFolder, by: str, grace_s: float) -> None:
        """Store the order and carry it out. Of two orders, the earlier SIGKILL applies."""
        if folder.name in self._ended or not folder.is_alive():
            return
        kill_at_s = self._uptime() + grace_s
        order = folder.stop_order()
        if order is None or kill_at_s < order.kill_at_s:
            order = replace(order or StopOrder(by=by, kill_at_s=kill_at_s), kill_at_s=kill_at_s)
            folder.write_stop_order(order)
        signal_job(folder, signal.SIGTERM)  # also if repeated: a crash may have prevented the first
        self._enforce(folder, order)

    def _limit_s(self, folder: JobFolder) -> float:
        if folder.name not in self._max_runtime_s:
            self._max_runtime_s[folder.name] = folder.max_runtime_s()
        return self._max_runtime_s[folder.name]

    def _enforce(self, folder: JobFolder, order: StopOrder) -> None:
        now_s = self._uptime()
        if now_s < order.kill_at_s or now_s - self._quit_at_s.get(folder.name, -math.inf) < QUIT_PAUSE_S:
            return
        self._quit_at_s[folder.name] = now_s
        signal_job(folder, signal.SIGQUIT)  # the entrypoint then kills the script's process group


def create_folder(folder: JobFolder, request: TrainingJobRequest, *, mark: str = "") -> None:
    """Create the folder of a job that runs as a process, with its channels as links.

    Args:
        folder: The folder.
        request: The job's request.
        mark: Name of an empty file that tells jobs of another backend apart; "" for none.

    Raises:
        JobError: As `JobFolder.create`.
        JobRejected: If a channel cannot be read on this machine.
    """
    channels = local_channels(request)

    def fill(draft: JobFolder) -> None:
        checkpoints = local_checkpoints(request)
        if checkpoints is not None:  # all attempts of the trial share them
            checkpoints.mkdir(parents=True, exist_ok=True)
        write_tree(draft.ml(), request, checkpoints=checkpoints)
        for channel, path in channels.items():
            (draft.ml() / "input" / "data" / channel).symlink_to(path)
        if mark:
            (draft.path / mark).touch()

    folder.create(request, fill)


def prepare(
    template: JobTemplate, assets: Path, folder: Path, environ: Mapping[str, str], *, upload: bool
) -> tuple[JobTemplate, Site]:
    """Return the template with the places of its files. See `base.Prepare`.

    Raises:
        JobRejected: If a channel cannot be read on this machine.
    """
    local_channels(template.request)
    if (n_hosts := len(host_names(template.request))) > 1:
        log.warning(
            "the job asks for %d instances, but --backend process runs only the first, algo-1; "
            "use --backend docker to run all",
            n_hosts,
        )
    return request_fields.prepare(template, assets, folder, environ, upload=upload)


def find_jobs(prefix: str, jobs_dir: Path, environ: Mapping[str, str]) -> Iterator[TrainingJobRequest]:
    """Find jobs that have a folder. See `base.FindJobs`."""
    del environ
    return request_fields.find_jobs(prefix, jobs_dir, foreign_files=("status.json", "ended.json", "slurm"))


def job_environment(environ: Mapping[str, str], prefix: Path = Path(sys.prefix)) -> dict[str, str]:
    """Return the environment variables that a job inherits: the user's, with a usable `python` on PATH.

    Without an active virtual environment, `python` is the interpreter that runs smsweep, as if its environment
    were active. The exception is an environment that pipx or `uv tool` created for smsweep alone: it has no
    packages for training.

    Args:
        environ: The user's environment variables.
        prefix: The environment that runs smsweep.
    """
    inherited = dict(environ)
    is_active = environ.get("VIRTUAL_ENV") or environ.get("CONDA_PREFIX")
    # Path.exists raises PermissionError in a folder that the user cannot search.
    if not is_active and not any(os.path.exists(prefix / name) for name in TOOL_FILES):  # noqa: PTH110
        own = str(Path(sys.executable).parent)
        inherited["PATH"] = os.pathsep.join([own, environ.get("PATH", os.defpath)])
    return inherited


SPEC = BackendSpec(
    open=lambda context: ProcessBackend(context.jobs_dir, context.runtime_zip, context.environ, context.clock),
    prepare=prepare,
    check_settings=check_local_secrets,
    check_machine=check_machine,
    find_jobs=find_jobs,
    is_local=True,
)
