"""The folder of a job on this machine. The next agent reads everything that it needs from there.

The script of a job can change its folder, so each method raises DamagedFile for a file that smsweep did not write.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from smsweep.backends.local import request_fields
from smsweep.backends.local.job_files import (
    DamagedFile,
    find_object,
    modified_at,
    open_file,
    read_object,
    read_request,
    read_text,
    read_uptime,
    rename,
    write_text,
)
from smsweep.backends.local.opt_ml import not_prepared
from smsweep.backends.local.request_fields import host_names
from smsweep.core.job import JobResults, JobStatus, TrainingJobRequest

FIRST_HOST = "algo-1"
# Who ordered a stop -> the secondary status of the stopped job.
SECONDARY_BY_STOP: Mapping[str, str] = {"person": "Stopped", "max_runtime": "MaxRuntimeExceeded"}
STARTED_FILES = ("pid", "uptime", "exit_code")  # each shows that a process was started
LONGEST_NUMBER = 20  # characters of a process id or an exit code
LAST_EXIT_CODE = 255
SCAN_PAUSE_S = 0.02  # between two scans of the processes
MAX_SCANS = 50  # a killed process can be alive for a moment


@dataclass(frozen=True, kw_only=True, slots=True)
class StopOrder:
    """An order to stop the job. It is stored in the job's folder, so that each agent can carry it out."""

    by: str  # a key of SECONDARY_BY_STOP
    kill_at_s: float  # the machine's uptime in seconds when the grace period ends
    is_sent: bool = False  # SIGTERM was sent; used by the Docker backend


class JobFolder:
    """The files of one job, with the same layout for every backend on this machine.

    Both backends: `request.json`, the job's request; `ml`, its /opt/ml (`ml-HOST` for further hosts); `output.log`
    (`output-HOST.log`); `lock`, which the job or the supervisor of its containers holds; `uptime`, the machine's
    uptime when the job started and ended; `stop.json`, an order to stop.

    Processes: `pid` and `exit_code` of the entrypoint. Docker: `status.json`, the status of a running job;
    `verdict.json`, how the job ended, while its containers are being removed; `ended.json`, the final status.

    Files are written under another name and then renamed, so that no reader sees half of a file.

    Args:
        path: The folder. Its name is the job's name. It need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name

    def exists(self) -> bool:
        return self.path.exists()

    def create(self, request: TrainingJobRequest, fill: Callable[[JobFolder], None]) -> None:
        """Create the folder and its content in one step. If the folder exists, do nothing.

        Args:
            request: The job's request.
            fill: Writes the trees of the hosts into the given draft of this folder. It may raise OSError.

        Raises:
            JobError: If the folder cannot be written, ever.
            BackendUnavailable: If it cannot be written now, for example because the disk is full.
        """
        if self.exists():
            return
        draft = JobFolder(self.path.with_name(f".{self.name}.{os.getpid()}"))
        try:
            shutil.rmtree(draft.path, ignore_errors=True)
            # Other users must not change files of a process that runs as this user.
            draft.path.mkdir(parents=True, mode=0o700)
            fill(draft)
            (draft.path / "request.json").write_text(json.dumps(request), encoding="utf-8")
            draft.path.rename(self.path)
        except OSError as err:
            shutil.rmtree(draft.path, ignore_errors=True)
            if not self.exists():  # otherwise another agent created it first
                raise not_prepared(self.name, err) from err

    def request(self) -> dict[str, Any]:
        return read_request(self.path / "request.json")

    def find_request(self) -> dict[str, Any] | None:
        """Return the job's request, or None if it is missing or damaged."""
        return find_object(self.path / "request.json")

    def max_runtime_s(self) -> float:
        """Return MaxRuntimeInSeconds of the request; infinity if it has none."""
        try:
            limit = self.request().get("StoppingCondition", {}).get("MaxRuntimeInSeconds", math.inf)
            return float(limit)
        except (AttributeError, TypeError, ValueError):
            raise DamagedFile(self.path / "request.json", "not the job's request") from None

    def ml(self, host: str = FIRST_HOST) -> Path:
        """Return the folder that a host sees as /opt/ml."""
        return self.path / ("ml" if host == FIRST_HOST else f"ml-{host}")

    def trees(self, hosts: Sequence[str]) -> list[Path]:
        """Return the /opt/ml of each host that has one."""
        return [tree for host in hosts if (tree := self.ml(host)).exists()]

    def find_document(self, *parts: str) -> dict[str, Any] | None:
        """Return a JSON object below the first host's /opt/ml, or None if it is missing or damaged."""
        return find_object(self.ml().joinpath(*parts))

    def log(self, host: str = FIRST_HOST) -> Path:
        return self.path / ("output.log" if host == FIRST_HOST else f"output-{host}.log")

    def logs(self) -> list[Path]:
        """Return the log of each host, in the hosts' order."""
        return [self.log(host) for host in host_names(self.request())]

    def has_output(self) -> bool:
        """Return True if every host has written to its log."""
        return all(_size(file) > 0 for file in self.logs())

    def lock(self) -> int | None:
        """Lock the job for this process.

        Returns:
            A file descriptor; close it to release the lock. None if another process holds the lock.
        """
        lock = open_file(self.path / "lock", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return lock

    def is_alive(self) -> bool:
        """Return True if the job runs: its entrypoint, or the supervisor of its containers, holds the lock."""
        try:
            lock = open_file(self.path / "lock", os.O_RDONLY)  # works in a folder that is not writable
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(lock)
        return False

    def has_started(self) -> bool:
        """Return True if a process was started for the job, even if its script has deleted some files."""
        return any(os.path.lexists(self.path / name) for name in STARTED_FILES)

    def started_at(self) -> datetime | None:
        """Return when the process was started; None if there is no `pid` file."""
        return modified_at(self.path / "pid")

    def pid(self) -> int:
        """Return the process id of the entrypoint."""
        file = self.path / "pid"
        try:
            text = read_text(file, LONGEST_NUMBER)
        except FileNotFoundError:
            raise DamagedFile(file, "missing") from None
        pid = int(text) if text.isascii() and text.isdecimal() else 0
        if pid < 2:  # os.kill would signal other processes
            raise DamagedFile(file, "not the number of the job's process")
        return pid

    def exit_code(self) -> int | None:
        """Return the exit code of the entrypoint; None until it has exited."""
        file = self.path / "exit_code"
        try:
            text = read_text(file, LONGEST_NUMBER)
        except FileNotFoundError:
            return None
        if not (text.isascii() and text.isdecimal() and int(text) <= LAST_EXIT_CODE):
            raise DamagedFile(file, "not an exit code")
        return int(text)

    def exited_at(self) -> datetime | None:
        """Return when the exit code was written; None until the entrypoint has exited."""
        return modified_at(self.path / "exit_code")

    def uptimes_s(self) -> list[float]:
        """Return the machine's uptime in seconds at the job's start and at its end, as far as they are known."""
        return read_uptime(self.path)

    def write_uptime(self, started_s: float) -> None:
        write_text(self.path / "uptime", json.dumps([started_s]))

    def age_s(self, started_at: datetime, *, uptime_s: float, now_s: float) -> float:
        """Return the seconds since the job's start. A change of the machine's clock does not affect the result.

        Args:
            started_at: The job's start. It is used only if the uptime at the start is unknown.
            uptime_s: The machine's uptime.
            now_s: The time since the epoch.
        """
        uptimes_s = self.uptimes_s()
        return uptime_s - uptimes_s[0] if uptimes_s else now_s - started_at.timestamp()

    def ended(self) -> JobStatus | None:
        """Return the final status; None if the job has not ended."""
        return _read_status(self.path / "ended.json")

    def status(self) -> JobStatus:
        """Return the last status of a job that has not ended."""
        status = _read_status(self.path / "status.json")
        return status or JobStatus(name=self.name, status="InProgress", secondary_status="Starting")

    def write_status(self, status: JobStatus) -> None:
        _write(self.path / "status.json", _plain(status))

    def verdict(self) -> JobStatus | None:
        """Return how the job ended; None if that is not decided, or `publish_verdict` was called."""
        return _read_status(self.path / "verdict.json")

    def write_verdict(self, status: JobStatus) -> None:
        """Store how the job ended, while its containers are being removed."""
        _write(self.path / "verdict.json", _plain(status))

    def publish_verdict(self) -> None:
        """Make the verdict the final status."""
        rename(self.path / "verdict.json", self.path / "ended.json")

    def stop_order(self) -> StopOrder | None:
        """Return the order to stop the job, if there is one."""
        file = self.path / "stop.json"
        document = _read(file)
        if document is None:
            return None
        by, kill_at_s = document.get("by"), document.get("kill_at_s")
        if not (isinstance(by, str) and by in SECONDARY_BY_STOP):
            raise DamagedFile(file, "not an order to stop")
        if not (isinstance(kill_at_s, float) and math.isfinite(kill_at_s)):
            raise DamagedFile(file, "not an order to stop")
        return StopOrder(by=by, kill_at_s=kill_at_s, is_sent=document.get("is_sent") is True)

    def write_stop_order(self, order: StopOrder) -> None:
        _write(self.path / "stop.json", asdict(order))


def find_jobs(prefix: str, jobs_dir: Path, environ: Mapping[str, str]) -> Iterator[TrainingJobRequest]:
    """Find jobs that have a folder. See `base.FindJobs`."""
    del environ
    return request_fields.find_jobs(prefix, jobs_dir, foreign_files=("pid",))  # only the process backend writes it


def kill_processes(folder: JobFolder) -> None:
    """Kill all processes that have the job in their environment. Their entrypoint is not running any more."""
    for _ in range(MAX_SCANS):
        # A scan misses a process that is starting: while the kernel loads a program, its environment is empty.
        time.sleep(SCAN_PAUSE_S)
        if not _kill_marked(str(folder.ml())):
            return


def _kill_marked(ml_root: str) -> bool:
    """Kill the process groups that have a job's folder in their environment. Return True if there was one."""
    import psutil  # slow to import, and needed only after a kill

    has_killed = False
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get("SMSWEEP_ML_ROOT") == ml_root and process.status() != psutil.STATUS_ZOMBIE:
                has_killed = True
                os.killpg(os.getpgid(process.pid), signal.SIGKILL)
    return has_killed


def _plain(status: JobStatus) -> dict[str, Any]:
    values = asdict(status)
    return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in values.items()}


def _read_status(path: Path) -> JobStatus | None:
    document = _read(path)
    if document is None:
        return None
    try:
        for key in ("started_at", "ended_at"):
            if document[key] is not None:
                document[key] = datetime.fromisoformat(document[key])
        if document["results"] is not None:
            document["results"] = JobResults(**document["results"])
        return JobStatus(**{field.name: document[field.name] for field in fields(JobStatus)})
    except (KeyError, TypeError, ValueError):
        raise DamagedFile(path, "not a job's status") from None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return read_object(path)
    except FileNotFoundError:
        return None


def _write(path: Path, document: object) -> None:
    write_text(path, json.dumps(document))


def _size(file: Path) -> int:
    try:
        return file.lstat().st_size
    except FileNotFoundError:
        return 0
