"""What a script leaves behind outside its process group: workers in sessions of their own, daemons.

On Linux a process may have the orphans among its descendants given to it, as PID 1 of a container has. So a job
finds them when its script has ended, and nothing outlives it; elsewhere they go their own way.
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
_prctl: Any = None  # the system's function of that name, once it is loaded
_reaper = 0  # the process that has asked for orphans; a fork of it has not


def prepare() -> None:
    """Load what `become_reaper` needs, so that forks have it already. Slow, so only where jobs are forked."""
    global _prctl
    if sys.platform.startswith("linux"):
        with contextlib.suppress(ImportError, OSError, AttributeError):
            import ctypes

            _prctl = ctypes.CDLL(None).prctl


def become_reaper() -> None:
    """Have the orphans among this process's descendants given to it. Only for one that has no other children."""
    global _reaper
    if _prctl is not None and _prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0:
        _reaper = os.getpid()


def has_orphans_given() -> bool:
    """Tell whether all children of this process are the script and the orphans of it."""
    return os.getpid() in (1, _reaper)


def any_left() -> bool:
    """Reap the orphans that have ended, and tell whether others run. False where none are given to us.

    Only once the script is reaped: its end would be lost here.
    """
    if os.getpid() != _reaper:
        return False
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def ask(group: int, asked: set[int]) -> None:
    """Send SIGTERM to the children of a reaper that are in another group than this and not asked already."""
    for pid, process_group in _children():
        if process_group != group and pid not in asked:
            asked.add(pid)
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGTERM)


def kill() -> None:
    """Kill all children of a reaper. PID 1 need not: what is in its container ends with it."""
    for pid, _ in _children():
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def _children() -> list[tuple[int, int]]:
    """Return pid and group of each; none for a process that has asked for no orphans."""
    found: list[tuple[int, int]] = []
    if os.getpid() != _reaper:
        return found
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError, ValueError), open(f"/proc/{name}/stat", "rb") as file:
            _state, parent, group = file.read().rpartition(b")")[2].split()[:3]
            if int(parent) == _reaper:
                found.append((int(name), int(group)))
    return found
