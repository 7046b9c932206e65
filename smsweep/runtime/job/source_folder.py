"""Find or unpack the source that the script belongs to."""

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
    """Return the folder to run in.

    Our channel's tarball, unpacked into <ml>/code, comes first; then a <ml>/code that something else has filled
    (AWS's toolkit, an image built that way); then a local `sagemaker_submit_directory`; then an empty <ml>/code,
    where an image's own program can run. Raises JobFailure when the source is where we cannot get it.
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
