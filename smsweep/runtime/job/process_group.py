"""Whether anybody is left of a process group."""

from __future__ import annotations

import contextlib
import os


def is_alive(group: int) -> bool:
    """Tell whether a process of this group still runs; as PID 1, reap those that do not."""
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
    """Look closer than kill(2), for which a zombie lives: in some containers nobody ever reaps one."""
    try:
        pids = [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return True  # no /proc (macOS): believe kill
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                state, _parent, process_group = file.read().rpartition(b")")[2].split()[:3]
        except (OSError, ValueError):
            continue  # gone meanwhile
        if int(process_group) == group and state not in (b"Z", b"X"):
            return True
    return False
