"""The folder that a training container knows as /opt/ml: written before a job starts, read after it ends."""

from __future__ import annotations

import errno
import json
import logging
import os
import tarfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from smsweep.backends.local.request_fields import input_mode, instance_groups, s3_source
from smsweep.core.job import MAX_FAILURE_REASON, TrainingJobRequest
from smsweep.errors import BackendUnavailable, JobError, JobRejected
from smsweep.runtime.system import open_plain

MAX_FAILURE_BYTES = 8 * MAX_FAILURE_REASON  # at four bytes a character, and blanks before the first
FOLDERS = ("input", "input/config", "input/data", "output", "output/data", "model", "code")  # parents first
CHECKPOINTS = "checkpoints"
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)  # what waiting does not mend
GZIP_LEVEL = 1  # weights hardly shrink, and a trial waits for it
Upload = Callable[[Path, str], None]  # (file or folder, URI)


def write_tree(
    root: Path,
    request: TrainingJobRequest,
    hosts: Sequence[str] = ("algo-1",),
    host: str = "algo-1",
    checkpoints: Path | None = None,
) -> None:
    """Create the folders of /opt/ml below root and the three files of input/config, in SageMaker's form.

    checkpoints: the folder that `checkpoints` leads to; None to make it a folder of its own.
    Source: AWS's description of how SageMaker provides training information.
    """
    root.mkdir(parents=True, exist_ok=True)
    for folder in (*FOLDERS, *(() if checkpoints else (CHECKPOINTS,))):
        (root / folder).mkdir(exist_ok=True)
    if checkpoints:
        (root / CHECKPOINTS).symlink_to(checkpoints)
    config = root / "input" / "config"
    documents = {
        "hyperparameters.json": dict(request.get("HyperParameters", {})),
        "inputdataconfig.json": input_data_config(request),
        "resourceconfig.json": resource_config(request, hosts, host),
    }
    for name, document in documents.items():
        (config / name).write_text(json.dumps(document), encoding="utf-8")


def not_prepared(name: str, err: OSError) -> JobError:
    """Return the error for a job whose files cannot be written; a full disk is waited out."""
    what = f"cannot prepare job {name}: {err.filename or 'its folder'}: {err.strerror or err}"
    if err.errno in FORBIDDEN:
        return JobError(f"{what}; make it a folder that you may write to, or set SMSWEEP_DIR to another")
    return BackendUnavailable(what)


def input_data_config(request: TrainingJobRequest) -> dict[str, dict[str, str]]:
    """Return what inputdataconfig.json says of each channel."""
    channels = {}
    for channel in request.get("InputDataConfig", ()):
        entry = {
            "TrainingInputMode": input_mode(request, channel),
            "S3DistributionType": s3_source(channel).get("S3DataDistributionType", "FullyReplicated"),
            "RecordWrapperType": channel.get("RecordWrapperType", "None"),
        }
        if "ContentType" in channel:
            entry["ContentType"] = channel["ContentType"]
        channels[channel["ChannelName"]] = entry
    return channels


def resource_config(request: TrainingJobRequest, hosts: Sequence[str], host: str) -> dict[str, Any]:
    """Return what resourceconfig.json says to one host of a job. hosts: those that take part."""
    groups = [group for group in instance_groups(request) if set(group.hosts) & set(hosts)]
    own = next(group for group in groups if host in group.hosts)
    return {
        "current_host": host,
        "current_instance_type": own.instance_type,
        "current_group_name": own.name,
        "hosts": sorted(hosts),
        "instance_groups": [
            {
                "instance_group_name": group.name,
                "instance_type": group.instance_type,
                "hosts": [each for each in group.hosts if each in hosts],
            }
            for group in groups
        ],
        "network_interface_name": "eth0",
    }


def local_channels(request: TrainingJobRequest) -> dict[str, Path]:
    """Return the local folder or file behind each channel.

    Raises JobRejected for a channel that is not file:// or whose path does not exist.
    """
    channels = {}
    for channel in request.get("InputDataConfig", ()):
        name, uri = channel["ChannelName"], str(s3_source(channel).get("S3Uri", ""))
        parts = urlsplit(uri)
        if parts.scheme != "file":
            what = uri or "a file system"
            downloads = ", or a backend that downloads: docker" if uri else ""
            raise JobRejected(
                f"channel {name}: {what} cannot be read on this machine; use a file:// path{downloads}"
            )
        path = _path(parts)
        if not path.exists():
            raise JobRejected(f"channel {name}: {path} does not exist")
        channels[name] = path
    return channels


def local_checkpoints(request: TrainingJobRequest) -> Path | None:
    """Return the local folder of the job's checkpoints; None when it has none, or they are elsewhere."""
    parts = urlsplit(str(request.get("CheckpointConfig", {}).get("S3Uri", "")))
    return _path(parts) if parts.scheme == "file" else None


def failure_reason(root: Path) -> str:
    """Return what the job wrote to output/failure, cut as SageMaker cuts it; "" when it wrote nothing."""
    # Whatever the job has put there: a link is not followed out of its folder, and a pipe would never end.
    try:
        if (root / "output").is_symlink():
            return ""
        with os.fdopen(open_plain(str(root / "output" / "failure")), "rb") as file:
            text = file.read(MAX_FAILURE_BYTES)
    except OSError:
        return ""
    return text.decode("utf-8", errors="replace").strip()[:MAX_FAILURE_REASON]


def _path(uri: SplitResult) -> Path:
    return Path(unquote(uri.path, errors="surrogateescape"))  # a folder's name need be no text


def open_to_all(folder: Path, *, folders: int, files: int) -> None:
    """Add these bits to the modes of a folder and all below it, whatever the umask; 0 for none. Links stay."""
    for parent, _, names in os.walk(folder):
        _allow(Path(parent), folders)
        for name in names if files else ():
            _allow(Path(parent, name), files)


def _allow(path: Path, bits: int) -> None:
    with suppress(PermissionError):  # not ours: an earlier container's, whose user has it still
        mode = path.lstat().st_mode
        if mode & bits != bits and not path.is_symlink():
            path.chmod(mode | bits)


log = logging.getLogger(__name__)


def keep_artifacts(
    request: TrainingJobRequest, trees: Sequence[Path], scratch: Path, upload: Upload
) -> dict[str, str]:
    """Put the hosts' model and output/data below S3OutputPath; an empty folder leaves nothing, as on SageMaker.

    Returns where "model" and "output" are, those that are.
    trees: each host's /opt/ml; where two have the same file, the first one's is kept. Raises OSError, among others
    when the disk is full.
    """
    output = request.get("OutputDataConfig", {})
    base = str(output.get("S3OutputPath", "")).rstrip("/")
    kept: dict[str, str] = {}
    if not base:
        return kept
    base = f"{base}/{request['TrainingJobName']}/output"
    for name, part in (("model", "model"), ("output", "output/data")):
        folders = [tree / part for tree in trees if _is_own(tree, part) and _has_files(tree / part)]
        if not folders:
            continue
        if output.get("CompressionType") == "NONE":
            kept[name] = f"{base}/{part.rpartition('/')[2]}"
            for folder in reversed(folders):
                upload(folder, kept[name])
        else:
            kept[name] = f"{base}/{name}.tar.gz"
            draft = scratch / f"{name}.tar.gz"
            _pack(folders, draft)
            upload(draft, kept[name])
            draft.unlink()
    return kept


def _is_own(tree: Path, part: str) -> bool:
    """Tell whether a folder is where it was: a job's link in its place leads to this machine's files."""
    place = tree
    for name in part.split("/"):
        place /= name
        if place.is_symlink():
            log.warning("%s is a link to %s, and is not kept", place, place.readlink())
            return False
    return True


def _has_files(folder: Path) -> bool:
    return any(files for _, _, files in os.walk(folder))


def _pack(folders: Sequence[Path], target: Path) -> None:
    seen: set[str] = set()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(target, "w:gz", compresslevel=GZIP_LEVEL) as tar:
        for folder in folders:
            for path in sorted(folder.rglob("*")):
                name = path.relative_to(folder).as_posix()
                if name not in seen:
                    seen.add(name)
                    tar.add(path, name, recursive=False)
