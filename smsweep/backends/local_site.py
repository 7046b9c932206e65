"""Where jobs of this machine find their files: here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from smsweep.jobs import JobTemplate, Site


def prepare(
    template: JobTemplate, assets: Path, folder: Path, environ: Mapping[str, str], *, upload: bool
) -> tuple[JobTemplate, Site]:
    """See backends.table.Prepare. The template is complete as it is."""
    del environ, upload
    return template, Site(
        assets_uri=assets.as_uri(),
        output_uri=(folder / "jobs").as_uri(),
        checkpoint_uri=(folder / "checkpoints").as_uri(),
    )
