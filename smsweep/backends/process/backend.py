"""Jobs as plain processes of this machine, each in a folder that looks like /opt/ml.

A job outlives the agent that started it: everything known about it is in its folder, so that the next agent
finds it, reads its log and learns how it ended.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from smsweep.backends.local import site
from smsweep.backends.local.log_pages import read_page
from smsweep.backends.local.opt_ml import (
    failure_reason,
    local_channels,
    local_checkpoints,
    not_prepared,
    write_tree,
)
from smsweep.backends.local.request_fields import host_names
from smsweep.backends.process.fork_client import LauncherClient
from smsweep.core.job import (
    STOP_GRACE_S,
    JobStatus,
    JobTemplate,
    LogPage,
    Site,
    TrainingJobRequest,
)
from smsweep.errors import BackendUnavailable
from smsweep.secrets.references import secret_values

log = logging.getLogger(__name__)

TOOL_MARKS = ("pipx_metadata.json", "uv-receipt.toml")  # in environments that hold one command-line tool
TERMINAL_BY_STOP = {"person": "Stopped", "max_runtime": "MaxRuntimeExceeded"}  # who asked -> secondary status


@dataclass(slots=True)
class _StopOrder:
    """That a job was told to end; kept in its folder, so that another agent knows."""

    by: str  # a key of TERMINAL_BY_STOP
    kill_at: float  # clock seconds when patience ends


class ProcessBackend:
    """Runs each job's entrypoint in a folder below `root`.

    environ: what jobs inherit. clock: seconds since the epoch, also across restarts.
    """

    def __init__(
        self, root: Path, runtime_zip: Path, environ: Mapping[str, str], clock: Callable[[], float]
    ) -> None:
        self._root = root.absolute()
        self._environ = job_environment(environ)
        with contextlib.suppress(FileNotFoundError):  # who deletes the folder ends no sweep
            self._environ["SMSWEEP_STARTED_IN"] = str(Path.cwd())
        self._clock = clock
        self._launcher = LauncherClient(runtime_zip.absolute())
        self._ended: dict[str, JobStatus] = {}  # a job ends once: no second look at its folder
        self._max_runtime_s: dict[str, float] = {}  # per job, from its request

    @property
    def place(self) -> str:
        return f"process@{socket.gethostname()}"

    def submit(self, request: TrainingJobRequest) -> None:
        name = request["TrainingJobName"]
        folder = self._root / name
        if not folder.exists():
            self._prepare(folder, request)
        if not (folder / "pid").exists():
            self._start(folder, request)

    def describe(self, names: Collection[str]) -> dict[str, JobStatus]:
        found = {}
        for name in names:
            status = self._ended.get(name) or self._look(name)
            if status is not None:
                found[name] = status
        return found

    def stop(self, name: str, *, grace_s: float | None = None) -> None:
        self._order_stop(name, "person", STOP_GRACE_S if grace_s is None else grace_s)

    def read_logs(self, name: str, cursor: str = "") -> LogPage:
        folder = self._root / name
        ended = not _is_alive(folder)  # asked before reading: what is written later is on the next page
        return read_page(folder / "output.log", cursor, is_complete=ended)

    def forget(self, name: str) -> None:
        # Everything stays for the person: log, model, and what the script wrote into its working directory.
        self._ended.pop(name, None)

    def wait(self, timeout_s: float) -> None:
        self._launcher.wait(timeout_s)

    def close(self) -> None:
        self._launcher.close()

    def _prepare(self, folder: Path, request: TrainingJobRequest) -> None:
        """Make the whole folder aside and put it in place at once: a crash leaves nothing half-made."""
        channels = local_channels(request)
        draft = folder.with_name(f".{folder.name}.{os.getpid()}")
        try:
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(mode=0o700, parents=True)  # its script runs as the caller: nobody else may change it
            checkpoints = local_checkpoints(request)
            if checkpoints is not None:  # of all attempts, where the next one finds them
                checkpoints.mkdir(parents=True, exist_ok=True)
            write_tree(draft / "ml", request, checkpoints=checkpoints)
            for channel, path in channels.items():
                (draft / "ml" / "input" / "data" / channel).symlink_to(path)
            (draft / "request.json").write_text(json.dumps(request), encoding="utf-8")
            draft.rename(folder)
        except OSError as err:
            shutil.rmtree(draft, ignore_errors=True)
            if not folder.exists():  # else somebody else was first
                raise not_prepared(folder.name, err) from err

    def _start(self, folder: Path, request: TrainingJobRequest) -> None:
        environ = {
            **self._environ,
            **request.get("Environment", {}),
            **secret_values(request, self._environ),
            "SMSWEEP_ML_ROOT": str(folder / "ml"),
            "TRAINING_JOB_NAME": folder.name,
        }
        arguments = request.get("AlgorithmSpecification", {}).get("ContainerArguments", [])
        argv = ["--pid-file", str(folder / "group"), *arguments]
        answer = self._launcher.ask({"folder": str(folder), "argv": argv, "environ": environ})
        if "error" in answer:
            raise BackendUnavailable(f"cannot start job {folder.name}: {answer['error']}")

    def _look(self, name: str) -> JobStatus | None:
        folder = self._root / name
        started_at = _mtime(folder / "pid")
        if started_at is None:
            return None
        order = _read_stop(folder)
        if _is_alive(folder):
            if order is not None:
                self._enforce(folder, order)
                return JobStatus(name=name, status="Stopping", secondary_status="Stopping", started_at=started_at)
            if self._clock() - started_at.timestamp() > self._limit_s(folder):
                self._order_stop(name, "max_runtime", STOP_GRACE_S)
            return JobStatus(name=name, status="InProgress", secondary_status="Training", started_at=started_at)
        status = _ended_status(folder, order, started_at)
        self._ended[name] = status
        return status

    def _order_stop(self, name: str, by: str, grace_s: float) -> None:
        folder = self._root / name
        if name in self._ended or not _is_alive(folder):
            return
        kill_at = self._clock() + grace_s
        order = _read_stop(folder)
        if order is None:
            order = _StopOrder(by=by, kill_at=kill_at)
            _write_stop(folder, order)
        elif kill_at < order.kill_at:
            order.kill_at = kill_at
            _write_stop(folder, order)
        _signal_pid(folder / "pid", signal.SIGTERM)  # again if repeated: the first may have been lost in a crash
        self._enforce(folder, order)

    def _limit_s(self, folder: Path) -> float:
        if folder.name not in self._max_runtime_s:
            request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
            limit = request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", float("inf"))
            self._max_runtime_s[folder.name] = float(limit)
        return self._max_runtime_s[folder.name]

    def _enforce(self, folder: Path, order: _StopOrder) -> None:
        if self._clock() >= order.kill_at:
            _signal_pid(folder / "pid", signal.SIGQUIT)  # the entrypoint then kills the script's group


def prepare(
    template: JobTemplate, assets: Path, folder: Path, environ: Mapping[str, str], *, upload: bool
) -> tuple[JobTemplate, Site]:
    """See backends.table.Prepare. A channel that cannot be read here fails no trial: nothing starts."""
    local_channels(template.request)
    if (n_hosts := len(host_names(template.request))) > 1:
        log.warning(
            "the job asks for %d instances, and a process of this machine is one, algo-1; "
            "--backend docker runs them all",
            n_hosts,
        )
    return site.prepare(template, assets, folder, environ, upload=upload)


def find_jobs(beginning: str, folder: Path, environ: Mapping[str, str]) -> Iterator[TrainingJobRequest]:
    """See backends.table.FindJobs."""
    del environ
    return site.find_jobs(beginning, folder, leave_out=("status.json", "ended.json"))


def job_environment(environ: Mapping[str, str], prefix: Path = Path(sys.prefix)) -> dict[str, str]:
    """Return what a job inherits: the caller's environment, with `python` meaning a sensible Python.

    Where no virtual environment is active, it is the one that runs smsweep, as if that were activated; but not one
    that pipx or `uv tool` made for smsweep alone, where no training finds its packages.
    """
    inherited = dict(environ)
    is_active = environ.get("VIRTUAL_ENV") or environ.get("CONDA_PREFIX")
    if not is_active and not any((prefix / name).exists() for name in TOOL_MARKS):
        own = str(Path(sys.executable).parent)
        inherited["PATH"] = os.pathsep.join([own, environ.get("PATH", os.defpath)])
    return inherited


def _ended_status(folder: Path, order: _StopOrder | None, started_at: datetime) -> JobStatus:
    ended_at = _mtime(folder / "exit_code")
    exit_code = None if ended_at is None else int((folder / "exit_code").read_text())
    reason = failure_reason(folder / "ml")
    if exit_code is None:
        _kill_leftovers(folder)
        reason = reason or "the job's entrypoint was killed, or the machine went down"
    if order is not None:
        status, secondary = "Stopped", TERMINAL_BY_STOP[order.by]
    elif exit_code == 0:
        status, secondary = "Completed", "Completed"
    else:
        status, secondary = "Failed", "Failed"
    return JobStatus(
        name=folder.name,
        status=status,
        secondary_status=secondary,
        failure_reason=reason if status == "Failed" else "",
        exit_code=exit_code,
        is_lost=exit_code is None,
        started_at=started_at,
        ended_at=ended_at,
    )


def _is_alive(folder: Path) -> bool:
    """Tell whether the job's entrypoint still holds its lock."""
    try:
        lock = os.open(folder / "lock", os.O_RDONLY)  # the log of a copy that cannot be written can be read
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def _signal_pid(file: Path, number: signal.Signals) -> None:
    try:
        os.kill(int(file.read_text()), number)
    except (OSError, ValueError):
        return  # ended meanwhile


def _kill_leftovers(folder: Path) -> None:
    """Kill what an entrypoint that was itself killed left behind: all that has the job in its environment."""
    mark = os.fsencode(f"SMSWEEP_ML_ROOT={folder / 'ml'}") + b"\0"
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark in environ.read_bytes():
                os.killpg(os.getpgid(int(environ.parent.name)), signal.SIGKILL)


def _read_stop(folder: Path) -> _StopOrder | None:
    try:
        return _StopOrder(**json.loads((folder / "stop").read_text()))
    except FileNotFoundError:
        return None


def _write_stop(folder: Path, order: _StopOrder) -> None:
    draft = folder / "stop.part"
    draft.write_text(json.dumps({"by": order.by, "kill_at": order.kill_at}))
    draft.rename(folder / "stop")


def _mtime(file: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(file.stat().st_mtime, timezone.utc)
    except FileNotFoundError:
        return None
