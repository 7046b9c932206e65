"""Whether the disk took what a script wrote: one that ends well may have lost its model to a full disk."""

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


def leave_success(layout: Layout, ended: Ended) -> None:
    """Leave an empty output/success behind, as AWS's toolkit does.

    ended: the script, well. Raises JobFailure when the disk is full or did not take all of its output, or when the
    script spoke of a full disk and left no model.
    """
    if ended.lost_output:
        raise JobFailure(f"{SIGN}: the script ended well, but some of its output is lost, and metrics with it")
    told = [line for line in ended.tail.decode("utf-8", "replace").splitlines() if SIGN in line]
    if told and not _has_files(layout.model):
        raise JobFailure(f"the script ended well but left no model, and had said: {told[-1].strip()}")
    try:
        with open(layout.success, "wb") as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            file.truncate(0)
    except OSError as err:
        if err.errno in FULL:
            raise JobFailure(
                f"{SIGN}: the script ended well on a full disk, and what it wrote last may be incomplete"
            ) from err
    release(layout.failure)


def _has_files(folder: str) -> bool:
    return any(files for _, _, files in os.walk(folder))
