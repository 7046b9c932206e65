"""A job's folder: all that is known of a job, so that the next agent can take it over."""

from __future__ import annotations

import fcntl
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from smsweep.backends.local import site
from smsweep.backends.local.job_files import (
    UPTIME,
    BrokenFile,
    open_file,
    read_object,
    read_request,
    read_uptime,
    rename,
    write_text,
)
from smsweep.backends.local.opt_ml import not_prepared, write_tree
from smsweep.backends.local.permissions import open_to_all
from smsweep.backends.local.request_fields import host_names
from smsweep.core.job import JobResults, JobStatus, TrainingJobRequest

FIRST_HOST = "algo-1"
STOPPERS = ("person", "max_runtime")  # who may order a job to stop


@dataclass(frozen=True, kw_only=True, slots=True)
class StopOrder:
    """That a job was told to end; kept in its folder, so that another agent knows."""

    by: str  # one of STOPPERS
    kill_at_s: float  # uptime of the machine when patience ends
    is_sent: bool = False  # SIGTERM is on its way


class JobFolder:
    """One job's files, which are written atomically.

    A method that reads a damaged file raises BrokenFile.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name

    def exists(self) -> bool:
        return self.path.exists()

    def create(self, request: TrainingJobRequest) -> None:
        """Make the whole folder aside and put it in place at once. No-op when it is there."""
        if self.exists():
            return
        draft = JobFolder(self.path.with_name(f".{self.name}.{os.getpid()}"))
        hosts = host_names(request)
        try:
            shutil.rmtree(draft.path, ignore_errors=True)
            draft.path.mkdir(parents=True, mode=0o700)
            for host in hosts:
                write_tree(draft.ml(host), request, hosts, host)
                # The job's folder around it is closed to others here.
                open_to_all(draft.ml(host), folders=0o777, files=0o644)
            (draft.path / "request.json").write_text(json.dumps(request), encoding="utf-8")
            draft.path.rename(self.path)
        except OSError as err:
            shutil.rmtree(draft.path, ignore_errors=True)
            if not self.exists():  # else somebody else was first
                raise not_prepared(self.name, err) from err

    def request(self) -> dict[str, Any]:
        return read_request(self.path / "request.json")

    def ml(self, host: str = FIRST_HOST) -> Path:
        """Return what one host knows as /opt/ml."""
        return self.path / ("ml" if host == FIRST_HOST else f"ml-{host}")

    def log(self, host: str = FIRST_HOST) -> Path:
        return self.path / ("output.log" if host == FIRST_HOST else f"output-{host}.log")

    def logs(self) -> list[Path]:
        """Return the log of each host; algo-1's first."""
        return [self.log(host) for host in host_names(self.request())]

    def has_spoken(self) -> bool:
        """Tell whether every host has written something."""
        return all(_size(file) > 0 for file in self.logs())

    def lock(self) -> int | None:
        """Become the one who looks after this job: a file descriptor to close, or None when somebody else is."""
        lock = open_file(self.path / "lock", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return lock

    def ended(self) -> JobStatus | None:
        return _read_status(self.path / "ended.json")

    def status(self) -> JobStatus:
        """Return how far a job is that has not ended."""
        found = _read_status(self.path / "status.json")
        return found or JobStatus(name=self.name, status="InProgress", secondary_status="Starting")

    def write_status(self, status: JobStatus) -> None:
        _write(self.path / "status.json", _plain(status))

    def verdict(self) -> JobStatus | None:
        return _read_status(self.path / "verdict.json")

    def write_verdict(self, status: JobStatus) -> None:
        """Keep how the job ended, while its containers are still being removed."""
        _write(self.path / "verdict.json", _plain(status))

    def publish_verdict(self) -> None:
        rename(self.path / "verdict.json", self.path / "ended.json")

    def uptime_s(self) -> float | None:
        """Return the machine's uptime in seconds at the start of the job, or None if unknown."""
        return next(iter(read_uptime(self.path)), None)

    def write_uptime(self, started_s: float) -> None:
        write_text(self.path / UPTIME, json.dumps([started_s]))

    def stop_order(self) -> StopOrder | None:
        file = self.path / "stop.json"
        document = _read(file)
        if document is None:
            return None
        by, kill_at_s = document.get("by"), document.get("kill_at_s")
        if by not in STOPPERS or not isinstance(kill_at_s, float) or not math.isfinite(kill_at_s):
            raise BrokenFile(file, "not an order to stop")
        return StopOrder(by=by, kill_at_s=kill_at_s, is_sent=document.get("is_sent") is True)

    def write_stop_order(self, order: StopOrder) -> None:
        _write(self.path / "stop.json", asdict(order))


def find_jobs(beginning: str, folder: Path, environ: Mapping[str, str]) -> Iterator[TrainingJobRequest]:
    """See backends.table.FindJobs."""
    del environ
    return site.find_jobs(beginning, folder, leave_out=("pid",))  # a process has one


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
        raise BrokenFile(path, "not a job's status") from None


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
