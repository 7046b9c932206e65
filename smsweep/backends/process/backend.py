"""Jobs as plain processes of this machine, each in a folder that looks like /opt/ml.

A job outlives the agent that started it: everything known about it is in its folder, so that the next agent
finds it, reads its log and learns how it ended.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from smsweep.backends.local import site
from smsweep.backends.local.job_files import BrokenFile, modified_at, open_file, read_request, read_uptime
from smsweep.backends.local.log_pages import read_page
from smsweep.backends.local.opt_ml import local_channels, local_checkpoints, not_prepared, write_tree
from smsweep.backends.local.request_fields import host_names
from smsweep.backends.process.fork_client import LauncherClient
from smsweep.backends.process.process_folder import (
    StopOrder,
    ended_status,
    has_begun,
    is_alive,
    kill_leftovers,
    read_stop,
    signal_job,
    write_stop,
)
from smsweep.core.job import (
    STOP_GRACE_S,
    JobStatus,
    JobTemplate,
    LogPage,
    Site,
    TrainingJobRequest,
)
from smsweep.errors import BackendUnavailable, JobRejected
from smsweep.runtime.uptime import uptime_s
from smsweep.secrets.references import secret_values

log = logging.getLogger(__name__)

TOOL_MARKS = ("pipx_metadata.json", "uv-receipt.toml")  # in environments that hold one command-line tool


class ProcessBackend:
    """Runs each job's entrypoint in a folder below `root`.

    A script can write to its job's folder. If a file in it is damaged, only that job fails.

    Args:
        environ: What jobs inherit.
        clock: Seconds since the epoch; used only for jobs that an older smsweep started.
        uptime: Seconds since the machine was started; changes of the system time do not affect it.
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
        with contextlib.suppress(FileNotFoundError):  # who deletes the folder ends no sweep
            self._environ["SMSWEEP_STARTED_IN"] = str(Path.cwd())
        self._clock = clock
        self._uptime = uptime
        self._launcher = LauncherClient(runtime_zip.absolute())
        self._begun: set[str] = set()  # names of jobs that were seen to run
        self._ended: dict[str, JobStatus] = {}  # a job ends once: no second look at its folder
        self._max_runtime_s: dict[str, float] = {}  # per job, from its request

    @property
    def place(self) -> str:
        return f"process@{socket.gethostname()}"

    def submit(self, request: TrainingJobRequest) -> None:
        name = request["TrainingJobName"]
        folder = self._root / name
        if not os.path.lexists(folder):
            self._prepare(folder, request)
        if not has_begun(folder):
            self._start(folder, request)
        self._begun.add(name)

    def describe(self, names: Collection[str]) -> dict[str, JobStatus]:
        found = {}
        for name in names:
            status = self._ended.get(name) or self._look(name)
            if status is not None:
                found[name] = status
        return found

    def stop(self, name: str, *, grace_s: float | None = None) -> None:
        try:
            self._order_stop(name, "person", STOP_GRACE_S if grace_s is None else grace_s)
        except BrokenFile as err:
            self._give_up(name, err)

    def read_logs(self, name: str, cursor: str = "") -> LogPage:
        folder = self._root / name
        try:
            ended = not is_alive(folder)  # asked before reading, because later lines belong to the next page
        except BrokenFile:
            ended = True
        try:
            return read_page(folder / "output.log", cursor, is_complete=ended or name in self._ended)
        except BrokenFile as err:
            log.warning("%s: %s", name, err)
            return LogPage(lines=(), cursor=cursor, is_last=True)

    def forget(self, name: str) -> None:
        # Everything stays for the person: log, model, and what the script wrote into its working directory.
        self._ended.pop(name, None)
        self._begun.discard(name)

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
        if "refused" in answer:
            raise JobRejected(f"cannot start job {folder.name}: {answer['refused']}")
        if "error" in answer:
            raise BackendUnavailable(f"cannot start job {folder.name}: {answer['error']}")

    def _look(self, name: str) -> JobStatus | None:
        try:
            status = self._status(self._root / name)
        except BrokenFile as err:
            return self._give_up(name, err)
        if status is not None and status.is_terminal:
            self._ended[name] = status
        return status

    def _status(self, folder: Path) -> JobStatus | None:
        name, pid_file = folder.name, folder / "pid"
        started_at = modified_at(pid_file)
        if started_at is None:
            is_gone = has_begun(folder)
            if not is_gone and is_alive(folder):  # another agent is just starting it
                return JobStatus(name=name, status="InProgress", secondary_status="Starting")
            if is_gone or name in self._begun:
                raise BrokenFile(pid_file, "missing")  # a second start would be a second run
            return None
        self._begun.add(name)
        runs, order = is_alive(folder), read_stop(folder)
        if not runs:
            return ended_status(folder, order, started_at)
        with contextlib.suppress(FileNotFoundError):
            os.close(open_file(folder / "output.log", os.O_RDONLY))
        if order is not None:
            self._enforce(folder, order)
            return JobStatus(name=name, status="Stopping", secondary_status="Stopping", started_at=started_at)
        if self._age_s(folder, started_at) > self._limit_s(folder):
            self._order_stop(name, "max_runtime", STOP_GRACE_S)
        return JobStatus(name=name, status="InProgress", secondary_status="Training", started_at=started_at)

    def _give_up(self, name: str, err: BrokenFile) -> JobStatus:
        """Kill the processes of a job whose folder is damaged, and report the job as failed."""
        folder = self._root / name
        log.warning("%s: %s", name, err)
        with contextlib.suppress(BrokenFile, BackendUnavailable):
            signal_job(folder, signal.SIGQUIT)
        kill_leftovers(folder)
        status = JobStatus(name=name, status="Failed", secondary_status="Failed", failure_reason=str(err))
        self._ended[name] = status
        return status

    def _order_stop(self, name: str, by: str, grace_s: float) -> None:
        folder = self._root / name
        if name in self._ended or not is_alive(folder):
            return
        kill_at_s = self._uptime() + grace_s
        order = read_stop(folder)
        if order is None:
            order = StopOrder(by=by, kill_at_s=kill_at_s)
            write_stop(folder, order)
        elif kill_at_s < order.kill_at_s:
            order.kill_at_s = kill_at_s
            write_stop(folder, order)
        signal_job(folder, signal.SIGTERM)  # again if repeated: the first may have been lost in a crash
        self._enforce(folder, order)

    def _age_s(self, folder: Path, started_at: datetime) -> float:
        begun_s = read_uptime(folder)[:1]
        return self._uptime() - begun_s[0] if begun_s else self._clock() - started_at.timestamp()

    def _limit_s(self, folder: Path) -> float:
        if folder.name not in self._max_runtime_s:
            file = folder / "request.json"
            try:
                limit = read_request(file).get("StoppingCondition", {}).get("MaxRuntimeInSeconds", math.inf)
                self._max_runtime_s[folder.name] = float(limit)
            except (AttributeError, TypeError, ValueError):
                raise BrokenFile(file, "not the job's request") from None
        return self._max_runtime_s[folder.name]

    def _enforce(self, folder: Path, order: StopOrder) -> None:
        if self._uptime() >= order.kill_at_s:
            signal_job(folder, signal.SIGQUIT)  # the entrypoint then kills the script's group


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
