"""What trials leave behind, brought here."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from smsweep.backends.local.job_folder import JobFolder
from smsweep.core.trial import Trial
from smsweep.errors import NotFound, SourceError, UsageError
from smsweep.runtime.job.failure import JobFailure
from smsweep.runtime.job.unpack import unpack
from smsweep.services.workspace import Workspace
from smsweep.util.lazy_registry import LazyTable

# boto3 is slow to load, and results of this machine do not need it.
AWS: LazyTable[Any] = LazyTable({"Aws": "smsweep.aws.client:Aws", "fetch": "smsweep.aws.s3_transfer:fetch"})


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
    aws = AWS["Aws"](environ)
    try:
        AWS["fetch"](aws, uri, target)
    finally:
        aws.close()
