"""Where jobs of this machine find their files, and where they are found themselves: here."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from smsweep.core.job import JobTemplate, Site, TrainingJobRequest


def prepare(
    template: JobTemplate, assets: Path, folder: Path, environ: Mapping[str, str], *, upload: bool
) -> tuple[JobTemplate, Site]:
    """See backends.table.Prepare. The template is complete as it is."""
    del environ
    for name in ("jobs", "checkpoints") if upload else ():
        with suppress(OSError):  # the job that needs it says so
            (folder / name).mkdir(mode=0o700, exist_ok=True)
    return template, Site(
        assets_uri=assets.as_uri(),
        output_uri=(folder / "jobs").as_uri(),
        checkpoint_uri=(folder / "checkpoints").as_uri(),
    )


def find_jobs(beginning: str, folder: Path, leave_out: Collection[str]) -> Iterator[TrainingJobRequest]:
    """Yield the requests of the jobs in a folder. leave_out: files that only another backend's jobs have."""
    for file in sorted(folder.glob("*/request.json")):
        if file.parent.name.startswith(beginning) and not any((file.parent / name).exists() for name in leave_out):
            yield json.loads(file.read_text(encoding="utf-8"))
