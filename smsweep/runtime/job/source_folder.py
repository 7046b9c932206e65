"""Find or unpack the source of the script."""

from __future__ import annotations

import contextlib
import os

from smsweep.runtime.job.command_macros import INTERPRETER
from smsweep.runtime.job.failure import JobFailure
from smsweep.runtime.job.sm_variables import user_args
from smsweep.runtime.job.unpack import unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from smsweep.runtime.job.trial_document import Assignment
    from smsweep.runtime.opt_ml_layout import Layout


def source_folder(layout: Layout, assignment: Assignment) -> str:
    """Return the folder to run the script in.

    The first of these: <ml>/code, unpacked from the tarball in smsweep's channel; a <ml>/code that AWS's toolkit
    or the image has filled; a local `sagemaker_submit_directory`; an empty <ml>/code, for a program of the image.

    Raises:
        JobFailure: If the source is in S3, or cannot be unpacked.
    """
    if os.path.exists(layout.source_tar):
        unpack(layout.source_tar, layout.code)
        return layout.code
    if os.path.isdir(layout.code) and os.listdir(layout.code):
        return layout.code
    submitted = str(assignment.platform.get("sagemaker_submit_directory") or "")
    if os.path.isdir(submitted):
        return submitted
    if os.path.isfile(submitted):
        unpack(submitted, layout.code)
    elif "://" in submitted:
        raise JobFailure(
            f"sagemaker_submit_directory is {submitted}, which only AWS's own toolkit downloads; "
            f"put the source into {layout.source_tar} or {layout.code}"
        )
    os.makedirs(layout.code, exist_ok=True)
    return layout.code


EXECUTABLE = 0o111  # for all users
SHELL = "/bin/sh"
STARTABLE = (b"#!", b"\x7fELF")  # first bytes of a file that the system can start


def user_command(program: str, params: Mapping[str, Any], cwd: str) -> list[str]:
    """Return the argv of a Python script, or of another program in the source folder cwd."""
    args = user_args(params)
    if program.endswith(".py"):
        return [INTERPRETER, program, *args]
    path, head = os.path.join(cwd, program), STARTABLE[0]
    with contextlib.suppress(OSError):  # the start of the program reports the error
        os.chmod(path, os.stat(path).st_mode | EXECUTABLE)
        with open(path, "rb") as file:
            head = file.read(4)
    command = os.path.join(os.curdir, program)
    return [command, *args] if head.startswith(STARTABLE) else [SHELL, command, *args]  # as execvp(3) does
