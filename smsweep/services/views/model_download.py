"""Download the model of a trial."""

from __future__ import annotations

import shutil
import tarfile
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
from smsweep.source.written_files import record_written
from smsweep.store import notes


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
        NotFound: If the trial has no model, or `smsweep prune` deleted it.
        SourceError: If the archive has a member outside the folder.
        JobError: If AWS rejects the download.
    """
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise UsageError(f"{into}: is not an empty folder; name a new folder for the model")
    workspace = Workspace()
    with workspace.store() as store:
        trial = store.get_trial(sweep_id, number)
        pruned_at = notes.pruned_at(store, trial)
    into.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into.parent, prefix=f".{into.name}.") as scratch:
        folder = Path(scratch) / "model"
        try:
            _download(trial, workspace, folder, Path(scratch) / "model.tar.gz")
        except NotFound:
            if pruned_at is None:
                raise
            raise NotFound(
                f"trial {trial.label}: `smsweep prune` deleted its model on {pruned_at[:10]}; run the trial again "
                f"with: smsweep reproduce {trial.label}"
            ) from None
        if into.exists():
            into.rmdir()
        folder.rename(into)
    record_written(workspace.dir, [into])
    return into


def model_archive(sweep_id: str, number: int, folder: Path) -> Path:
    """Download or pack the model of a trial as one file, and return the file.

    Args:
        sweep_id: Id of the sweep.
        number: Number of the trial.
        folder: Existing folder for the file.

    Raises:
        UsageError: If the model in S3 is not a tarball.
        NotFound: If the trial has no model.
        JobError: If AWS rejects the download.
    """
    workspace = Workspace()
    with workspace.store(read_only=True) as store:
        trial = store.get_trial(sweep_id, number)
    archive = folder / "model.tar.gz"
    uri = _model_uri(trial)
    if uri:
        _fetch_model(trial, uri, archive, workspace)
        return archive
    local = _model_folder(trial, workspace)
    with tarfile.open(archive, "w:gz") as packed:  # links stay links, so that no file outside the folder is packed
        for path in sorted(local.iterdir()):
            packed.add(path, path.name)
    return archive


def _fetch_model(trial: Trial, uri: str, archive: Path, workspace: Workspace) -> None:
    try:
        fetch(uri, archive, workspace.environ)
    except NotFound as err:
        raise NotFound(f"trial {trial.label} saved no model, or it was deleted: {err}") from err


def _model_uri(trial: Trial) -> str:
    """Return the URI of the trial's tarball; "" if its model is a folder on this machine."""
    uri = str(trial.usage.get("model_uri", ""))
    if uri.endswith(".tar.gz"):
        return uri
    if uri.startswith("s3://"):
        raise UsageError(f"{uri}: is not a tarball; copy it with `aws s3 cp --recursive {uri} FOLDER`")
    return ""


def _model_folder(trial: Trial, workspace: Workspace) -> Path:
    local = JobFolder(workspace.jobs_dir / trial.job_name).ml() / "model"
    if trial.job_name and local.is_dir() and any(local.iterdir()):
        return local
    raise NotFound(f"trial {trial.label} has no model; a script must write its model to $SM_MODEL_DIR")


def _download(trial: Trial, workspace: Workspace, folder: Path, archive: Path) -> None:
    uri = _model_uri(trial)
    if uri:
        _fetch_model(trial, uri, archive, workspace)
        try:
            unpack(str(archive), str(folder))
        except JobFailure as err:
            raise SourceError(f"{uri}: {err}") from err
    else:
        shutil.copytree(_model_folder(trial, workspace), folder, symlinks=True)


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
