"""Create a sweep: read its config, snapshot its source, store both."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from smsweep.config_files.job_yaml import ParsedJob
from smsweep.config_files.sweep_yaml import ParsedSweep
from smsweep.errors import SourceError
from smsweep.runtime.job.secrets import SECRETS_ENV
from smsweep.secrets.known import known_secrets
from smsweep.secrets.scan import Finding, refuse_secrets, scan_text
from smsweep.services.sweeps.load import SweepLike, origin_of, warn
from smsweep.services.sweeps.missing_files import left_behind
from smsweep.services.sweeps.program_location import source_dir
from smsweep.services.workspace import Workspace
from smsweep.source.collect import SourceFile, collect
from smsweep.source.pack import hash_files, pack

log = logging.getLogger(__name__)


def hash_source(parsed: ParsedSweep, job: ParsedJob, sweep: SweepLike) -> str:
    """Return the hash that the source's snapshot will have, writing nothing; "" when there is none."""
    workspace = Workspace()
    known = known_secrets(workspace.environ, job.template)
    found = secrets_in_configs(parsed, job, known)
    files = _source_files(workspace, source_dir(parsed.config, job, origin_of(sweep)), job)
    if files:
        return hash_files(files, found=found, known=known)
    refuse_secrets(found)
    return ""


def snapshot(workspace: Workspace, parsed: ParsedSweep, job: ParsedJob, origin: Path | None) -> str:
    """Pack the source and return its hash; "" when there is none. Raises SourceError for a secret in it."""
    known = known_secrets(workspace.environ, job.template)
    found = secrets_in_configs(parsed, job, known)
    folder = source_dir(parsed.config, job, origin)
    files = _source_files(workspace, folder, job)
    if folder and files:
        warn(left_behind(parsed.config, folder, files))
        with workspace.made():
            return pack(files, workspace.bundles_dir, found=found, known=known).hash
    refuse_secrets(found)
    return ""


def secrets_in_configs(parsed: ParsedSweep, job: ParsedJob, known: Sequence[str]) -> list[Finding]:
    """Return what must not be in a sweep's two files. known: see hidden.known_secrets."""
    return [*scan_text("sweep config", parsed.text, known), *scan_text("job config", job.text, known)]


def _source_files(workspace: Workspace, folder: Path | None, job: ParsedJob) -> list[SourceFile]:
    files = collect(folder, leave_out=(workspace.dir,)) if folder is not None else []
    return [*files, *_secrets_env(folder, job)]


def _secrets_env(folder: Path | None, job: ParsedJob) -> list[SourceFile]:
    """Return the file that `wandb.sagemaker_auth` writes, where job.yaml asks for it; no scan looks into it."""
    if folder is None or not job.template.carries_secrets_env:
        return []
    path = folder / SECRETS_ENV
    if not path.is_file():
        raise SourceError(f"{path}: no such file; wandb.sagemaker_auth(path=...) writes it, or drop secrets_env")
    log.warning("%s travels with the source: whoever may read the source may read its keys", path)
    size = path.stat().st_size
    return [SourceFile(name=SECRETS_ENV, path=path, size=size, is_executable=False, may_hold_secrets=True)]
