"""The machine's uptime, which a change of the system time does not affect."""

from __future__ import annotations

import time

_PROC = "/proc/uptime"


def uptime_s() -> float:
    """Return seconds since this machine was started, the same for all of its processes.

    On Linux, the time of a suspended machine counts. Without /proc this is Python's monotonic clock, which begins
    at the start of the machine, too, on the systems that smsweep supports.
    """
    try:
        with open(_PROC, "rb") as file:
            return float(file.read().split()[0])
    except (OSError, ValueError, IndexError):
        return time.monotonic()
