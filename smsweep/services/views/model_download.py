"""Download the model of a trial."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from smsweep.backends.local.job_folder import JobFolder
from smsweep.core.trial import Trial
from smsweep.errors import NotFound, SourceError, UsageError
from smsweep.runtime.job.failure import JobFailure
from smsweep.runtime.job.source_folder import unpack
from smsweep.services.workspace import Workspace


def download_model(sweep_id: str, number: int, into: Path) -> Path:
    """Download the model of a trial and unpack it. If this fails, the folder does not change.

    Args:
        sweep_id: Id of the sweep.
        number: Number of the trial.
        into: Path of a new or empty folder.

    Returns:
        The folder.

    Raises:
        UsageError: If the folder is not empty, or the model is not a tarball.
        NotFound: If the trial has no model.
        SourceError: If the archive has a member outside the folder.
        JobError: If AWS rejects the download.
    """
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise UsageError(f"{into}: is not an empty folder; name a new folder for the model")
    workspace = Workspace()
    with workspace.store() as store:
        trial = store.get_trial(sweep_id, number)
    into.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into.parent, prefix=f".{into.name}.") as scratch:
        folder = Path(scratch) / "model"
        _download(trial, workspace, folder, Path(scratch) / "model.tar.gz")
        if into.exists():
            into.rmdir()
        folder.rename(into)
    return into


def _download(trial: Trial, workspace: Workspace, folder: Path, archive: Path) -> None:
    uri = str(trial.usage.get("model_uri", ""))
    local = JobFolder(workspace.jobs_dir / trial.job_name).ml() / "model"
    if uri.endswith(".tar.gz"):
        fetch(uri, archive, workspace.environ)
        try:
            unpack(str(archive), str(folder))
        except JobFailure as err:
            raise SourceError(f"{uri}: {err}") from err
    elif uri.startswith("s3://"):
        raise UsageError(f"{uri}: is not a tarball; copy it with `aws s3 cp --recursive {uri} FOLDER`")
    elif trial.job_name and local.is_dir() and any(local.iterdir()):
        shutil.copytree(local, folder, symlinks=True)
    else:
        raise NotFound(f"trial {trial.label} has no model; a script must write its model to $SM_MODEL_DIR")


def fetch(uri: str, target: Path, environ: Mapping[str, str]) -> None:
    """Copy or download the file at a file:// or s3:// URI. Raises NotFound, or JobError."""
    parts = urlsplit(uri)
    if parts.scheme == "file":
        model = unquote(parts.path, errors="surrogateescape")  # the path can contain bytes that are not UTF-8
        try:
            shutil.copyfile(model, target)
        except FileNotFoundError as err:
            raise NotFound(f"{model}: the model file does not exist any more; retry the trial") from err
        return
    from smsweep.aws import s3_transfer
    from smsweep.aws.client import Aws  # boto3 is slow to import, and files of this machine do not need it

    aws = Aws(environ)
    try:
        s3_transfer.fetch(aws, uri, target)
    finally:
        aws.close()
