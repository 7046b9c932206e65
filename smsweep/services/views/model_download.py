"""What trials leave behind, brought here."""

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
    """Bring a trial's model into a new or empty folder, unpacked, and return the folder.

    All of it or nothing. Raises UsageError for a folder with something in it, NotFound where there is no model,
    SourceError for an archive with a member that leads out of the folder, or JobError.
    """
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise UsageError(f"{into}: is not an empty folder; name a new one to put the model into")
    workspace = Workspace()
    with workspace.store() as store:
        trial = store.get_trial(sweep_id, number)
    into.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into.parent, prefix=f".{into.name}.") as scratch:
        folder = Path(scratch) / "model"
        _bring(trial, workspace, folder, Path(scratch) / "model.tar.gz")
        if into.exists():
            into.rmdir()
        folder.rename(into)
    return into


def _bring(trial: Trial, workspace: Workspace, folder: Path, archive: Path) -> None:
    uri = str(trial.usage.get("model_uri", ""))
    here = JobFolder(workspace.jobs_dir / trial.job_name).ml() / "model"
    if uri.endswith(".tar.gz"):
        fetch(uri, archive, workspace.environ)
        try:
            unpack(str(archive), str(folder))
        except JobFailure as err:
            raise SourceError(f"{uri}: {err}") from err
    elif uri.startswith("s3://"):
        raise UsageError(f"{uri}: is not packed; copy it with `aws s3 cp --recursive {uri} FOLDER`")
    elif trial.job_name and here.is_dir() and any(here.iterdir()):
        shutil.copytree(here, folder, symlinks=True)
    else:
        raise NotFound(f"trial {trial.label} has left no model; a script leaves one in $SM_MODEL_DIR")


def fetch(uri: str, target: Path, environ: Mapping[str, str]) -> None:
    parts = urlsplit(uri)
    if parts.scheme == "file":
        model = unquote(parts.path, errors="surrogateescape")  # a folder's name need be no text
        try:
            shutil.copyfile(model, target)
        except FileNotFoundError as err:
            raise NotFound(f"{model}: the model is no longer there") from err
        return
    from smsweep.aws import s3_transfer
    from smsweep.aws.client import Aws  # boto3 is slow to import, and files of this machine do not need it

    aws = Aws(environ)
    try:
        s3_transfer.fetch(aws, uri, target)
    finally:
        aws.close()
