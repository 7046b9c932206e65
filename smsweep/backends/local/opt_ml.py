"""The /opt/ml folder of a job: write it before the job starts, and collect its results after the job has ended."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import tarfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from smsweep.backends.local.request_fields import input_mode, instance_groups, s3_source
from smsweep.core.job import MAX_FAILURE_REASON, TrainingJobRequest
from smsweep.core.resources import resources_of
from smsweep.errors import BackendUnavailable, JobError, JobRejected
from smsweep.runtime.system import open_plain

log = logging.getLogger(__name__)

MAX_FAILURE_BYTES = 8 * MAX_FAILURE_REASON  # at most four bytes per character, and leading spaces
FOLDERS = ("input", "input/config", "input/data", "output", "output/data", "model", "code")  # parents first
CHECKPOINTS = "checkpoints"
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)  # errors that a retry cannot fix
_STOPPED = re.compile(r"stopped: was sent SIG|killed: still running .* after SIG")  # see runtime/job/failure.py
GZIP_LEVEL = 1  # weights compress badly, and the trial waits for the compression

Upload = Callable[[Path, str], None]  # (file or folder, URI)


def write_tree(
    root: Path,
    request: TrainingJobRequest,
    hosts: Sequence[str] = ("algo-1",),
    host: str = "algo-1",
    checkpoints: Path | None = None,
) -> None:
    """Create the folders of /opt/ml and the three files of input/config, in SageMaker's format.

    Source: "How Amazon SageMaker Provides Training Information" in the SageMaker Developer Guide.

    Args:
        root: The folder that the job uses as /opt/ml.
        request: The job's request.
        hosts: All hosts of the job.
        host: The host that uses the folder.
        checkpoints: The target of the link `checkpoints`. None to create an empty folder instead.

    Raises:
        OSError: If a file cannot be written.
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
    """Return the error for a job whose files cannot be written. It is retryable, unless it is permanent."""
    what = f"cannot prepare job {name}: {err.filename or 'its folder'}: {err.strerror or err}"
    if err.errno in FORBIDDEN:
        return JobError(f"{what}; make it writable, or set SMSWEEP_DIR to another folder")
    return BackendUnavailable(what)


def input_data_config(request: TrainingJobRequest) -> dict[str, dict[str, str]]:
    """Return the content of inputdataconfig.json: the settings of each channel."""
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
    """Return the content of resourceconfig.json.

    Args:
        request: The job's request.
        hosts: The hosts that run.
        host: The host that reads the file.

    Returns:
        SageMaker's fields; `num_gpus`, `num_cpus` and `memory_bytes` of the host if the trial asks for them.
    """
    groups = [group for group in instance_groups(request) if set(group.hosts) & set(hosts)]
    needs = resources_of(request)
    numbers = {  # the runtime reads them
        "num_gpus": None if needs.gpus is None else needs.n_devices,
        "num_cpus": needs.cpus,
        "memory_bytes": needs.memory_bytes,
    }
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
        **{name: number for name, number in numbers.items() if number is not None},
    }


def local_channels(request: TrainingJobRequest) -> dict[str, Path]:
    """Return the local folder or file of each channel.

    Raises:
        JobRejected: If a channel is not a file:// URI, or its path does not exist.
    """
    channels = {}
    for channel in request.get("InputDataConfig", ()):
        name, uri = channel["ChannelName"], str(s3_source(channel).get("S3Uri", ""))
        parts = urlsplit(uri)
        if parts.scheme != "file":
            what = uri or "a file system"
            downloads = ", or --backend docker, which downloads it" if uri else ""
            raise JobRejected(
                f"channel {name}: {what} cannot be read on this machine; use a file:// path{downloads}"
            )
        path = _path(parts)
        if not path.exists():
            raise JobRejected(f"channel {name}: {path} does not exist")
        channels[name] = path
    return channels


def local_checkpoints(request: TrainingJobRequest) -> Path | None:
    """Return the local folder of the job's checkpoints; None without checkpoints, or if they are in S3."""
    parts = urlsplit(str(request.get("CheckpointConfig", {}).get("S3Uri", "")))
    return _path(parts) if parts.scheme == "file" else None


def failure_reason(root: Path) -> str:
    """Return the start of output/failure, with SageMaker's limit; "" without that file."""
    # The job may have created a link out of its folder, or a pipe, which would block.
    try:
        if (root / "output").is_symlink():
            return ""
        with os.fdopen(open_plain(str(root / "output" / "failure")), "rb") as file:
            text = file.read(MAX_FAILURE_BYTES)
    except OSError:
        return ""
    return text.decode("utf-8", errors="replace").strip()[:MAX_FAILURE_REASON]


def tells_of_stop(reason: str) -> bool:
    """Return True for a failure reason that smsweep's runtime writes after it received SIGTERM or SIGINT."""
    return _STOPPED.match(reason) is not None


def _path(uri: SplitResult) -> Path:
    return Path(unquote(uri.path, errors="surrogateescape"))  # the name of a folder may not be valid UTF-8


def open_to_all(folder: Path, *, folders: int, files: int) -> None:
    """Add mode bits to a folder and everything below it. Symbolic links are not followed.

    Args:
        folder: The folder.
        folders: The bits for folders.
        files: The bits for files; 0 to leave files unchanged.
    """
    for parent, _, names in os.walk(folder):
        _allow(Path(parent), folders)
        for name in names if files else ():
            _allow(Path(parent, name), files)


def _allow(path: Path, bits: int) -> None:
    with suppress(PermissionError):  # it belongs to the user of an earlier container
        mode = path.lstat().st_mode
        if mode & bits != bits and not path.is_symlink():
            path.chmod(mode | bits)


def keep_artifacts(
    request: TrainingJobRequest, trees: Sequence[Path], scratch: Path, upload: Upload
) -> dict[str, str]:
    """Upload the hosts' model and output/data below S3OutputPath. As on SageMaker, empty folders are skipped.

    Args:
        request: The job's request.
        trees: The /opt/ml of each host. If several have the same file, the first is used.
        scratch: A folder for temporary files.
        upload: Copies a file or folder to a URI.

    Returns:
        The URIs of "model" and "output", without those that were skipped.

    Raises:
        OSError: If a file cannot be read or written, for example because the disk is full.
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
    """Return False if the job has replaced the folder with a link, which can lead to other files."""
    place = tree
    for name in part.split("/"):
        place /= name
        if place.is_symlink():
            log.warning("%s is a link to %s, so it is not uploaded", place, place.readlink())
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
