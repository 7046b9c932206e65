"""How a job outside a sweep is started: as AWS's toolkit starts a user's program."""

from __future__ import annotations

import contextlib
import os

from smsweep.runtime.command import INTERPRETER
from smsweep.runtime.sm_variables import user_args

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

EXECUTABLE = 0o111  # for everybody


def user_command(program: str, params: Mapping[str, Any], cwd: str) -> list[str]:
    """Return the argv of a Python script, or of another program in the source folder cwd."""
    args = user_args(params)
    if program.endswith(".py"):
        return [INTERPRETER, program, *args]
    path = os.path.join(cwd, program)
    with contextlib.suppress(OSError):  # not there, or not ours: starting it says so
        os.chmod(path, os.stat(path).st_mode | EXECUTABLE)
    # By a shell, which also runs a script that names no interpreter.
    return ["/bin/sh", "-c", 'exec "$0" "$@"', os.path.join(os.curdir, program), *args]
