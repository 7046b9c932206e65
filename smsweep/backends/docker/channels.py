"""What each host of a job finds below /opt/ml/input/data."""

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
MODES = ("File", "FastFile")  # both show whole files; FastFile only reads them later

Fetch = Callable[[str, str], Path]  # (URI, S3DataType) -> what shows it
DEFAULT_PATH = "/opt/ml/checkpoints"


def check_channels(request: TrainingJobRequest) -> None:
    """Find what is wrong with the channels before anything is fetched. Raises JobRejected, naming the channel."""
    for channel in request.get("InputDataConfig", ()):
        mode, uri = input_mode(request, channel), s3_source(channel).get("S3Uri", "")
        if mode not in MODES:
            raise _rejected(channel, f"input mode {mode} is not to be had locally; use File or FastFile")
        if urlsplit(uri).scheme not in PLACES:
            raise _rejected(channel, f"{uri or 'a file system'} cannot be read here; give a file:// or s3:// URI")
        if urlsplit(uri).scheme == "file" and not local_path(uri).exists():
            raise _rejected(channel, f"{local_path(uri)} does not exist")


def fetch_channels(request: TrainingJobRequest, fetch: Fetch) -> dict[str, Path]:
    """Return the local file or folder behind each channel. Raises JobRejected, naming the channel."""
    found = {}
    for channel in request.get("InputDataConfig", ()):
        source = s3_source(channel)
        try:
            found[channel["ChannelName"]] = fetch(source["S3Uri"], source.get("S3DataType", "S3Prefix"))
        except JobRejected as err:
            raise _rejected(channel, str(err)) from err
    return found


def channel_binds(
    request: TrainingJobRequest,
    sources: Mapping[str, Path],
    ml: Path,
    hosts: Sequence[str],
    host: str,
    *,
    copies: bool = False,
) -> list[Bind]:
    """Return one host's read-only mounts, after making the places they are mounted on.

    ml: the host's tree. A sharded channel's files are dealt out to the hosts in the order of their names.
    copies: channels in File mode are copied into the tree instead, as on SageMaker, where a job may write to them.
    """
    channels = {channel["ChannelName"]: channel for channel in request.get("InputDataConfig", ())}
    binds = []
    for name, source in sources.items():
        takers = _takers(request, channels[name], hosts)
        if host not in takers:
            continue
        place = ml / "input" / "data" / name
        place.mkdir(parents=True, exist_ok=True)
        is_sharded = s3_source(channels[name]).get("S3DataDistributionType") == "ShardedByS3Key"
        if is_sharded and len(takers) > 1:
            shard = ml.parent / "shards" / host / name
            _link_shard(source, shard, takers.index(host), len(takers))
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


def _takers(request: TrainingJobRequest, channel: Mapping[str, Any], hosts: Sequence[str]) -> list[str]:
    """Return the hosts that a channel is for: all, or those of the instance groups it names."""
    names = s3_source(channel).get("InstanceGroupNames")
    if not names:
        return list(hosts)
    return [host for group in instance_groups(request) if group.name in names for host in group.hosts]


def _copy(source: Path, place: Path) -> None:
    """Copy a file or a folder's content into an empty place, whole; what an earlier start has copied stays."""
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
                os.link(file.resolve(), target)  # what a link leads to may be on no other host
            except OSError:  # another file system, or not ours to link
                shutil.copy(file, target)
    open_to_all(shard, folders=0o755, files=0)


class Checkpoints:
    """A local folder is shown to the container as it is, and so is always up to date; S3 is copied from and to."""

    def __init__(self, request: TrainingJobRequest, ml: Path, place: Callable[[str], Place]) -> None:
        """ml: the first host's tree, which holds the copy of what is in S3."""
        config = request.get("CheckpointConfig", {})
        self._uri = str(config.get("S3Uri", ""))
        self._target = str(config.get("LocalPath", DEFAULT_PATH))
        self._place = place
        self._is_local = urlsplit(self._uri).scheme == "file"
        self.is_copy = bool(self._uri) and not self._is_local  # of what is in S3
        self.folder = local_path(self._uri) if self._is_local else ml / "checkpoints"
        self._restored = ml.parent / "restored.json"  # the paths of what came from S3

    def restore(self, check: Callable[[], None]) -> None:
        """check: called now and then; what it raises ends the wait."""
        if self._is_local:
            _make(self.folder)
        elif self.is_copy:
            self._place(self._uri).download(self._uri, self.folder, check)
            names = [path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()]
            self._restored.write_text(json.dumps(names), encoding="utf-8")
        if self._uri:
            # So that the image's user can go on with files that are the caller's by now.
            open_to_all(self.folder, folders=0o777, files=0o666)

    def binds(self) -> list[Bind]:
        return [Bind(source=self.folder, target=self._target, is_read_only=False)] if self._uri else []

    def keep(self) -> None:
        """Bring S3 up to date: what the job removed of what it was given goes there, too, as on SageMaker."""
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
    """Raises JobRejected where waiting does not help."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        if err.errno not in (*FORBIDDEN, errno.EEXIST):
            raise
        raise JobRejected(f"checkpoints: {folder}: {err.strerror}; name a folder that you may write to") from err


def _is_gone(path: Path) -> bool:
    """Tell whether a file is there no more: one that only cannot be seen is not."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
