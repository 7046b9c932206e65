"""Processes of a script, in its process group and outside of it: workers in their own sessions, daemons.

On Linux a process can adopt the orphans among its descendants, as PID 1 of a container does. The job then finds
these orphans when its script has ended, and ends them too. On other systems the agent kills them when the job has
ended: see `kill_processes` in smsweep/backends/local/job_folder.py.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PR_SET_CHILD_SUBREAPER = 36
_prctl: Any = None  # prctl(2), after `prepare`
_reaper = 0  # pid of the process that adopts orphans; a fork of that process has another pid and adopts none


def prepare() -> None:
    """Load prctl(2) for `become_reaper`. Slow, so call it once in a process that forks jobs."""
    global _prctl
    if sys.platform.startswith("linux"):
        with contextlib.suppress(ImportError, OSError, AttributeError):
            import ctypes

            _prctl = ctypes.CDLL(None).prctl


def become_reaper() -> None:
    """Adopt the orphans among this process's descendants. Only for a process that has no other children."""
    global _reaper
    if _prctl is not None and _prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0:
        _reaper = os.getpid()


def adopts_orphans() -> bool:
    """Return True if all children of this process are the script and its orphans."""
    return os.getpid() in (1, _reaper)


def has_running_orphans() -> bool:
    """Reap the orphans that have ended, and return True if others run. False if this process adopts no orphans.

    Call it only after the script is reaped; otherwise this function loses the script's exit status.
    """
    if os.getpid() != _reaper:
        return False
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def terminate(group: int, signaled: set[int]) -> None:
    """Send SIGTERM to the adopted processes outside `group`, once each. `signaled` collects their pids."""
    for pid, process_group in _children():
        if process_group != group and pid not in signaled:
            signaled.add(pid)
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGTERM)


def kill_all() -> None:
    """Kill all children of a reaper. Not needed for PID 1: the processes of its container end with it."""
    for pid, _ in _children():
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def _children() -> list[tuple[int, int]]:
    """Return pid and process group of each child; empty if this process adopts no orphans."""
    children: list[tuple[int, int]] = []
    if os.getpid() != _reaper:
        return children
    for name in _pids():
        with contextlib.suppress(OSError, ValueError), open(f"/proc/{name}/stat", "rb") as file:
            _state, parent, group = file.read().rpartition(b")")[2].split()[:3]
            if int(parent) == _reaper:
                children.append((int(name), int(group)))
    return children


def is_alive(group: int) -> bool:
    """Return True if a process of this group runs. As PID 1, reap the processes that have ended."""
    if os.getpid() == 1:
        _reap_all()
    try:
        os.killpg(group, 0)
    except OSError:
        return False
    return _has_running_member(group)


def _reap_all() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _has_running_member(group: int) -> bool:
    """Return True if a member is not a zombie. kill(2) counts zombies, and some containers never reap them."""
    pids = _pids()
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                state, _parent, process_group = file.read().rpartition(b")")[2].split()[:3]
        except (OSError, ValueError):
            continue  # the process has ended since
        if int(process_group) == group and state not in (b"Z", b"X"):
            return True
    return not pids  # without /proc (macOS), trust kill(2)


def _pids() -> list[str]:
    """Return the running processes; empty without /proc."""
    try:
        return [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []
