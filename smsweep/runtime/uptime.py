"""A clock that cannot be set."""

from __future__ import annotations

import time

_PROC = "/proc/uptime"


def uptime_s() -> float:
    """Return the seconds since this machine was started, the same for all of its processes.

    On Linux the time includes suspended time. Without /proc it is Python's monotonic clock, which also begins at
    the start of the machine on the systems that smsweep supports.
    """
    try:
        with open(_PROC, "rb") as file:
            return float(file.read().split()[0])
    except (OSError, ValueError, IndexError):
        return time.monotonic()
