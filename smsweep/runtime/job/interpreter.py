"""Replace a missing `python` in a trial's argv: many images have `python3` but no `python`.

W&B's `${interpreter}` is always `python`. If PATH has no `python`, the interpreter of the entrypoint, which is a
Python of the same image, is used.
"""

from __future__ import annotations

import os

from smsweep.runtime.job.command_macros import ENV, INTERPRETER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def with_interpreter(argv: Sequence[str], *, path: str, fallback: str) -> list[str]:
    """Return argv with a missing `python` replaced by `fallback`, and without a missing `/usr/bin/env`.

    Args:
        argv: The command.
        path: The job's PATH.
        fallback: The interpreter that runs now; "" if unknown.
    """
    argv = list(argv)
    if argv[:1] == [ENV] and not os.path.exists(ENV):
        argv = argv[1:]
    at = 1 if argv[:1] == [ENV] else 0
    if fallback and argv[at : at + 1] == [INTERPRETER] and not find(INTERPRETER, path):
        argv[at] = fallback
    return argv


def find(program: str, path: str) -> str:
    """Return the path of a program on PATH; "" if PATH does not have it."""
    for folder in path.split(os.pathsep):
        candidate = os.path.join(folder or ".", program)
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    return ""
