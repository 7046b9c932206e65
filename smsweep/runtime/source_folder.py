"""Find or unpack the source that the script belongs to."""

from __future__ import annotations

import os

from smsweep.runtime.failure import JobFailure
from smsweep.runtime.unpack import unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from smsweep.runtime.assignment import Assignment
    from smsweep.runtime.layout import Layout


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
