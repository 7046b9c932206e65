"""Detect a full disk: a script that exits with code 0 may have lost its model to a full disk."""

from __future__ import annotations

import os

from smsweep.runtime.job.failure import JobFailure, release
from smsweep.runtime.job.output_pump import FULL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from smsweep.runtime.job.supervisor import Ended
    from smsweep.runtime.opt_ml_layout import Layout

SIGN = "No space left on device"
PROBE_BYTES = 64 * 1024


def record_success(layout: Layout, ended: Ended) -> None:
    """Write an empty output/success, as AWS's toolkit does.

    Args:
        layout: Paths of the job.
        ended: How the script ended, with exit code 0.

    Raises:
        JobFailure: If the disk is full, if output was lost, or if the script reported a full disk and wrote no
            model.
    """
    if ended.lost_output:
        raise JobFailure(f"{SIGN}: the script exited with code 0, but part of its output and metrics is lost")
    reports = [line for line in ended.tail.decode("utf-8", "replace").splitlines() if SIGN in line]
    if reports and not _has_files(layout.model):
        raise JobFailure(f"the script exited with code 0 but wrote no model, and printed: {reports[-1].strip()}")
    try:
        with open(layout.success, "wb") as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            file.truncate(0)
    except OSError as err:
        if err.errno in FULL:
            raise JobFailure(
                f"{SIGN}: the script exited with code 0 on a full disk; its last files may be incomplete"
            ) from err
    release(layout.failure)


def _has_files(folder: str) -> bool:
    return any(files for _, _, files in os.walk(folder))
