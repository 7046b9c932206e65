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
SHELL = "/bin/sh"
SAYS_HOW = (b"#!", b"\x7fELF")  # first bytes of a file that the system can start


def user_command(program: str, params: Mapping[str, Any], cwd: str) -> list[str]:
    """Return the argv of a Python script, or of another program in the source folder cwd."""
    args = user_args(params)
    if program.endswith(".py"):
        return [INTERPRETER, program, *args]
    path, beginning = os.path.join(cwd, program), SAYS_HOW[0]
    with contextlib.suppress(OSError):  # not there, or not ours: starting it says so
        os.chmod(path, os.stat(path).st_mode | EXECUTABLE)
        with open(path, "rb") as file:
            beginning = file.read(4)
    started = os.path.join(os.curdir, program)
    return [started, *args] if beginning.startswith(SAYS_HOW) else [SHELL, started, *args]  # as execvp does
