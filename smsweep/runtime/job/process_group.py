"""Check whether a process group has running processes."""

from __future__ import annotations

import contextlib
import os


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
    try:
        pids = [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return True  # no /proc (macOS): trust kill(2)
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                state, _parent, process_group = file.read().rpartition(b")")[2].split()[:3]
        except (OSError, ValueError):
            continue  # the process has ended since
        if int(process_group) == group and state not in (b"Z", b"X"):
            return True
    return False
