"""Input channels and checkpoints: fetch them, and mount them into the containers of a job."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from smsweep.backends.docker.containers import Bind
from smsweep.backends.local.opt_ml import FORBIDDEN, open_to_all
from smsweep.backends.local.request_fields import input_mode, instance_groups, s3_source
from smsweep.backends.local.storage import PLACES, Place, local_path, without_content
from smsweep.core.job import TrainingJobRequest
from smsweep.errors import JobRejected
from smsweep.util.atomic_file import replacing

DATA = "/opt/ml/input/data"
MODES = ("File", "FastFile")  # both provide whole files; FastFile only reads them later
DEFAULT_PATH = "/opt/ml/checkpoints"

Fetch = Callable[[str, str], Path]  # (URI, S3DataType) -> local file or folder


def check_channels(request: TrainingJobRequest) -> None:
    """Check the channels before anything is fetched.

    Raises:
        JobRejected: If a channel cannot be read. The message names the channel.
    """
    for channel in request.get("InputDataConfig", ()):
        mode, uri = input_mode(request, channel), s3_source(channel).get("S3Uri", "")
        if mode not in MODES:
            raise _rejected(channel, f"input mode {mode} is not available on this machine; use File or FastFile")
        if urlsplit(uri).scheme not in PLACES:
            raise _rejected(
                channel, f"{uri or 'a file system'} cannot be read on this machine; use a file:// or s3:// URI"
            )
        if urlsplit(uri).scheme == "file" and not local_path(uri).exists():
            raise _rejected(channel, f"{local_path(uri)} does not exist")


def fetch_channels(request: TrainingJobRequest, fetch: Fetch) -> dict[str, Path]:
    """Fetch the data of each channel.

    Args:
        request: The job's request.
        fetch: Returns the local file or folder for a URI and an S3DataType.

    Returns:
        The local file or folder of each channel, by the channel's name.

    Raises:
        JobRejected: If a channel cannot be read. The message names the channel.
    """
    paths = {}
    for channel in request.get("InputDataConfig", ()):
        source = s3_source(channel)
        try:
            paths[channel["ChannelName"]] = fetch(source["S3Uri"], source.get("S3DataType", "S3Prefix"))
        except JobRejected as err:
            raise _rejected(channel, str(err)) from err
    return paths


def channel_binds(
    request: TrainingJobRequest,
    sources: Mapping[str, Path],
    ml: Path,
    hosts: Sequence[str],
    host: str,
    *,
    copies: bool = False,
) -> list[Bind]:
    """Return the read-only mounts of one host, and create their mount points.

    The files of a sharded channel are distributed to the hosts in turn, sorted by name.

    Args:
        request: The job's request.
        sources: The local file or folder of each channel.
        ml: The folder that the host sees as /opt/ml.
        hosts: All hosts of the job.
        host: The host.
        copies: True to copy channels in File mode instead. The job can then write to them, as on SageMaker.
    """
    channels = {channel["ChannelName"]: channel for channel in request.get("InputDataConfig", ())}
    binds = []
    for name, source in sources.items():
        receivers = _receivers(request, channels[name], hosts)
        if host not in receivers:
            continue
        place = ml / "input" / "data" / name
        place.mkdir(parents=True, exist_ok=True)
        is_sharded = s3_source(channels[name]).get("S3DataDistributionType") == "ShardedByS3Key"
        if is_sharded and len(receivers) > 1:
            shard = ml.parent / "shards" / host / name
            _link_shard(source, shard, receivers.index(host), len(receivers))
            source = shard
        if copies and input_mode(request, channels[name]) == "File":
            _copy(source, place)
        elif source.is_dir():
            binds.append(Bind(source=source, target=f"{DATA}/{name}", is_read_only=True))
        else:
            (place / source.name).touch()
            binds.append(Bind(source=place, target=f"{DATA}/{name}", is_read_only=True))
            binds.append(Bind(source=source, target=f"{DATA}/{name}/{source.name}", is_read_only=True))
    return binds


def _receivers(request: TrainingJobRequest, channel: Mapping[str, Any], hosts: Sequence[str]) -> list[str]:
    """Return the hosts that receive a channel: all, or those of the channel's instance groups."""
    names = s3_source(channel).get("InstanceGroupNames")
    if not names:
        return list(hosts)
    return [host for group in instance_groups(request) if group.name in names for host in group.hosts]


def _copy(source: Path, place: Path) -> None:
    """Copy a file, or the content of a folder, in one step. If an earlier start has copied it, do nothing."""
    if any(place.iterdir()):
        return
    with replacing(place) as draft:
        if source.is_dir():
            shutil.copytree(source, draft, ignore=without_content, ignore_dangling_symlinks=True)
        else:
            draft.mkdir()
            shutil.copy2(source, draft)
        open_to_all(draft, folders=0o777, files=0o666)


def _rejected(channel: Mapping[str, Any], why: str) -> JobRejected:
    return JobRejected(f"channel {channel['ChannelName']}: {why}")


def _link_shard(source: Path, shard: Path, index: int, count: int) -> None:
    shard.mkdir(parents=True, exist_ok=True)
    if not source.is_dir():
        files = [source]
        source = source.parent
    else:
        files = sorted(path for path in source.rglob("*") if path.is_file())
    for file in files[index::count]:
        target = shard / file.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            try:
                os.link(
                    file.resolve(), target
                )  # a hard link to a symbolic link could lead to a path that the container does not have
            except OSError:  # another file system, or no permission to link
                shutil.copy(file, target)
    open_to_all(shard, folders=0o755, files=0)


class Checkpoints:
    """The checkpoints of a job. A local folder is mounted. Checkpoints in S3 are copied before and after the job.

    Args:
        request: The job's request.
        ml: The first host's tree, which contains the copy of the checkpoints in S3.
        place: Returns the storage of a URI.
    """

    def __init__(self, request: TrainingJobRequest, ml: Path, place: Callable[[str], Place]) -> None:
        config = request.get("CheckpointConfig", {})
        self._uri = str(config.get("S3Uri", ""))
        self._target = str(config.get("LocalPath", DEFAULT_PATH))
        self._place = place
        self._is_local = urlsplit(self._uri).scheme == "file"
        self.is_copy = bool(self._uri) and not self._is_local  # the checkpoints are in S3
        self.folder = local_path(self._uri) if self._is_local else ml / "checkpoints"
        self._restored = ml.parent / "restored.json"  # the paths of the files that came from S3

    def restore(self, check: Callable[[], None]) -> None:
        """Create the local folder, or download the checkpoints from S3.

        Args:
            check: Called repeatedly. An exception that it raises ends the download.

        Raises:
            JobRejected: If the folder cannot be created.
        """
        if self._is_local:
            _make(self.folder)
        elif self.is_copy:
            self._place(self._uri).download(self._uri, self.folder, check)
            names = [path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()]
            self._restored.write_text(json.dumps(names), encoding="utf-8")
        if self._uri:
            # An earlier attempt's files belong to the caller; the image's user must be able to change them.
            open_to_all(self.folder, folders=0o777, files=0o666)

    def binds(self) -> list[Bind]:
        return [Bind(source=self.folder, target=self._target, is_read_only=False)] if self._uri else []

    def keep(self) -> None:
        """Upload the checkpoints. Restored files that the job has deleted are deleted in S3, as on SageMaker."""
        if self.is_copy:
            place = self._place(self._uri)
            place.upload(self.folder, self._uri)
            place.remove(self._uri, self._removed())

    def _removed(self) -> list[str]:
        if not self._restored.exists() or not self.folder.is_dir():
            return []
        names = json.loads(self._restored.read_text(encoding="utf-8"))
        return [name for name in names if _is_gone(self.folder / name)]


def _make(folder: Path) -> None:
    """Create the folder. Raises JobRejected if a retry cannot help."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        if err.errno not in (*FORBIDDEN, errno.EEXIST):
            raise
        raise JobRejected(f"checkpoints: {folder}: {err.strerror}; use a folder that you can write to") from err


def _is_gone(path: Path) -> bool:
    """Return True if a file does not exist; False if it exists or its state is unknown."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
