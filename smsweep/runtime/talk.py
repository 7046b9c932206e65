"""A word to the person who reads the job's log, on stderr; never an exception."""

from __future__ import annotations

import contextlib
import sys

TALK = "smsweep: "  # how our own words begin


def warn(text: str) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):  # stderr is closed, or there is none
        sys.stderr.write(f"{TALK}{text}\n")
