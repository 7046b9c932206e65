"""Where jobs of this machine find their files, and where they are found themselves: here."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from smsweep.backends.local.job_files import DamagedFile, read_request
from smsweep.core.job import JobTemplate, Site, TrainingJobRequest

log = logging.getLogger(__name__)


def prepare(
    template: JobTemplate, assets: Path, folder: Path, environ: Mapping[str, str], *, upload: bool
) -> tuple[JobTemplate, Site]:
    """Return the template unchanged, with the places of its files. See `spec.Prepare`."""
    del environ
    for name in ("jobs", "checkpoints") if upload else ():
        with suppress(OSError):  # the job that needs it says so
            (folder / name).mkdir(mode=0o700, exist_ok=True)
    return template, Site(
        assets_uri=assets.as_uri(),
        output_uri=(folder / "jobs").as_uri(),
        checkpoint_uri=(folder / "checkpoints").as_uri(),
    )


def find_jobs(prefix: str, jobs_dir: Path, leave_out: Collection[str]) -> Iterator[TrainingJobRequest]:
    """Yield the requests of the jobs in a folder. leave_out: files that only another backend's jobs have.

    A job whose request cannot be read is left out, with a warning.
    """
    for file in sorted(jobs_dir.glob("*/request.json")):
        job = file.parent
        if job.name.startswith(prefix) and not any(os.path.lexists(job / name) for name in leave_out):
            try:
                yield read_request(file)
            except DamagedFile as err:
                log.warning("%s is left out: %s", job.name, err)
