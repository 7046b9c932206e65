"""The one repair made to a trial's argv: images that have `python3` but no `python`.

W&B's `${interpreter}` is always `python`, and many images (Debian's among them) only have `python3`. Since the
entrypoint itself runs on some Python of the same image, that one takes its place. A `python` on PATH stays.
"""

from __future__ import annotations

import os

from smsweep.runtime.job.command_macros import ENV, INTERPRETER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def with_interpreter(argv: Sequence[str], *, path: str, fallback: str) -> list[str]:
    """Return argv with a missing `python` replaced by fallback, and without an `env` that is not there.

    path: the job's PATH. fallback: the interpreter running now; "" when unknown.
    """
    argv = list(argv)
    if argv[:1] == [ENV] and not os.path.exists(ENV):
        argv = argv[1:]
    at = 1 if argv[:1] == [ENV] else 0
    if fallback and argv[at : at + 1] == [INTERPRETER] and not find(INTERPRETER, path):
        argv[at] = fallback
    return argv


def find(program: str, path: str) -> str:
    """Return where PATH has this program; "" when it does not."""
    for folder in path.split(os.pathsep):
        candidate = os.path.join(folder or ".", program)
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    return ""
