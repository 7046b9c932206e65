"""How a job that is a process is signalled, and how its end is read from its folder."""

from __future__ import annotations

import contextlib
import os
import signal
from datetime import datetime, timedelta
from pathlib import Path

from smsweep.backends.local.job_files import DamagedFile
from smsweep.backends.local.job_folder import SECONDARY_BY_STOP, JobFolder, StopOrder
from smsweep.backends.local.opt_ml import failure_reason
from smsweep.backends.process.fork_client import FORK_SERVER
from smsweep.core.job import JobStatus


def ended_status(folder: JobFolder, order: StopOrder | None, started_at: datetime) -> JobStatus:
    """Return the final status of a job whose entrypoint has exited. If it was killed, kill its processes.

    Args:
        folder: The job's folder.
        order: The order to stop it, if there was one.
        started_at: The job's start.

    Raises:
        DamagedFile: If the folder is damaged.
    """
    exit_code, ended_at = folder.exit_code(), None
    reason = failure_reason(folder.ml())
    if exit_code is None:
        kill_processes(folder)
        reason = reason or "the job's entrypoint was killed, or the machine went down"
    else:
        ended_at = _ended_at(folder, started_at)
    if order is not None:
        status, secondary = "Stopped", SECONDARY_BY_STOP[order.by]
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


def signal_job(folder: JobFolder, number: signal.Signals) -> None:
    """Send a signal to a job's entrypoint. If the entrypoint has exited, do nothing.

    Raises:
        DamagedFile: If the `pid` file is missing, or names another process.
    """
    pid = folder.pid()
    if _is_other_process(pid):
        raise DamagedFile(folder.path / "pid", "not the number of the job's process")
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def kill_processes(folder: JobFolder) -> None:
    """Kill all processes that have the job in their environment. Their entrypoint is not running any more."""
    mark = os.fsencode(f"SMSWEEP_ML_ROOT={folder.ml()}") + b"\0"
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark in environ.read_bytes():
                os.killpg(os.getpgid(int(environ.parent.name)), signal.SIGKILL)


def _ended_at(folder: JobFolder, started_at: datetime) -> datetime:
    """Return when a job ended. A change of the machine's clock does not affect the duration."""
    uptimes_s = folder.uptimes_s()
    if len(uptimes_s) == 2:
        return started_at + timedelta(seconds=max(0.0, uptimes_s[1] - uptimes_s[0]))
    return max(started_at, folder.exited_at() or started_at)


def _is_other_process(pid: int) -> bool:
    """Return True if a live process cannot be an entrypoint, which leads a session and is a fork of the server."""
    try:
        if os.getsid(pid) != pid:
            return True
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OverflowError:  # no process has such a number
        return True
    except OSError:  # the process has exited, or there is no /proc
        return False
    return bool(command) and FORK_SERVER.name.encode() not in command
