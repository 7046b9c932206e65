"""The files in a job's folder that hold the state of its process. The job's script can change them.

The job holds `lock` while it runs. `pid` is the process id of its entrypoint. `uptime` has the machine's uptime at
start and end. `exit_code` is written at the end. `stop` is the order to stop.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import signal
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from smsweep.backends.local.job_files import (
    BrokenFile,
    modified_at,
    open_file,
    read_object,
    read_text,
    read_uptime,
    write_text,
)
from smsweep.backends.local.opt_ml import failure_reason
from smsweep.backends.process.fork_client import LAUNCHER
from smsweep.core.job import JobStatus

TERMINAL_BY_STOP = {"person": "Stopped", "max_runtime": "MaxRuntimeExceeded"}  # who asked -> secondary status
BEGUN = ("pid", "uptime", "exit_code")  # any of these files shows that a job was started
LONGEST_NUMBER = 20  # characters of a process id or an exit code
LAST_EXIT_CODE = 255


@dataclass(slots=True)
class StopOrder:
    """That a job was told to end; kept in its folder, so that another agent knows."""

    by: str  # a key of TERMINAL_BY_STOP
    kill_at_s: float  # uptime of the machine when patience ends


def has_begun(folder: Path) -> bool:
    return any(os.path.lexists(folder / name) for name in BEGUN)


def ended_status(folder: Path, order: StopOrder | None, started_at: datetime) -> JobStatus:
    exit_code, ended_at = _read_exit_code(folder), None
    reason = failure_reason(folder / "ml")
    if exit_code is None:
        kill_leftovers(folder)
        reason = reason or "the job's entrypoint was killed, or the machine went down"
    else:
        ended_at = _end_of(folder, started_at)
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


def _end_of(folder: Path, started_at: datetime) -> datetime:
    """Return the end of a job: its start plus its duration by the machine's uptime, if known."""
    uptimes_s = read_uptime(folder)
    if len(uptimes_s) == 2:
        return started_at + timedelta(seconds=max(0.0, uptimes_s[1] - uptimes_s[0]))
    return max(started_at, modified_at(folder / "exit_code") or started_at)


def _read_exit_code(folder: Path) -> int | None:
    """Return the exit code, or None if the job wrote none. Raises BrokenFile."""
    file = folder / "exit_code"
    try:
        text = read_text(file, LONGEST_NUMBER)
    except FileNotFoundError:
        return None
    if not (text.isascii() and text.isdecimal() and int(text) <= LAST_EXIT_CODE):
        raise BrokenFile(file, "not an exit code")
    return int(text)


def is_alive(folder: Path) -> bool:
    """Tell whether the job's entrypoint still holds its lock. Raises BrokenFile."""
    try:
        lock = open_file(folder / "lock", os.O_RDONLY)  # the log of a copy that cannot be written can be read
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def signal_job(folder: Path, number: signal.Signals) -> None:
    """Signal a job's entrypoint; no-op if it has ended. Raises BrokenFile if `pid` names another process."""
    file = folder / "pid"
    try:
        text = read_text(file, LONGEST_NUMBER)
    except FileNotFoundError:
        raise BrokenFile(file, "missing") from None
    pid = int(text) if text.isascii() and text.isdecimal() else 0
    # Below 2 it would mean other processes, or all of them.
    if pid < 2 or _is_another(pid):
        raise BrokenFile(file, "not the number of the job's process")
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _is_another(pid: int) -> bool:
    """Return True if a live process is not an entrypoint: not a session leader, or not a fork server's child."""
    try:
        if os.getsid(pid) != pid:
            return True
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OverflowError:  # no process has such a number
        return True
    except OSError:  # it has ended, or there is no /proc
        return False
    return bool(command) and LAUNCHER.name.encode() not in command


def kill_leftovers(folder: Path) -> None:
    """Kill the processes that have the job in their environment. An entrypoint that was killed leaves them."""
    mark = os.fsencode(f"SMSWEEP_ML_ROOT={folder / 'ml'}") + b"\0"
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark in environ.read_bytes():
                os.killpg(os.getpgid(int(environ.parent.name)), signal.SIGKILL)


def read_stop(folder: Path) -> StopOrder | None:
    """Return the order to stop, or None. Raises BrokenFile."""
    file = folder / "stop"
    try:
        document = read_object(file)
    except FileNotFoundError:
        return None
    by, kill_at_s = document.get("by"), document.get("kill_at_s")
    if (
        isinstance(by, str)
        and by in TERMINAL_BY_STOP
        and isinstance(kill_at_s, float)
        and math.isfinite(kill_at_s)
    ):
        return StopOrder(by=by, kill_at_s=kill_at_s)
    raise BrokenFile(file, "not an order to stop")


def write_stop(folder: Path, order: StopOrder) -> None:
    write_text(folder / "stop", json.dumps({"by": order.by, "kill_at_s": order.kill_at_s}))
