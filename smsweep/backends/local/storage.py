"""The storage of channels, checkpoints and results. The scheme of a URI selects the class."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from smsweep.errors import JobRejected
from smsweep.util.atomic_file import replacing
from smsweep.util.plugins import LazyTable

Check = Callable[[], None]


class Place(Protocol):
    """A storage.

    The constructor gets the user's environment variables and a cache folder that all jobs share.
    """

    def fetch(self, uri: str, data_type: str, check: Check = lambda: None) -> Path:
        """Return a local file or folder with the data at a URI. The caller must not change it.

        Args:
            uri: The URI.
            data_type: The channel's S3DataType.
            check: Called repeatedly. An exception that it raises ends the download.

        Raises:
            JobRejected: If there is no data.
        """
        ...

    def download(self, uri: str, folder: Path, check: Check = lambda: None) -> None:
        """Copy the files below `uri` into a folder. If there are none, do nothing. `check`: see `fetch`."""
        ...

    def upload(self, path: Path, uri: str) -> None:
        """Copy a file to `uri`, or the content of a folder below it."""
        ...

    def remove(self, uri: str, names: Collection[str]) -> None:
        """Delete files below `uri`, by their relative paths. Missing files are ignored."""
        ...


# Imported on first use, because boto3 is slow to import and most local jobs have only local channels.
PLACES: LazyTable[Callable[[Mapping[str, str], Path], Place]] = LazyTable(
    {
        "file": "smsweep.backends.local.storage:FilePlace",
        "s3": "smsweep.backends.local.s3_storage:S3Place",
    }
)


def place_of(uri: str, environ: Mapping[str, str], cache: Path) -> Place:
    """Return the storage of a URI.

    Args:
        uri: The URI.
        environ: The user's environment variables.
        cache: A folder that all jobs share.

    Raises:
        JobRejected: If the scheme is not supported.
    """
    scheme = urlsplit(uri).scheme
    if scheme not in PLACES:
        raise JobRejected(f"{uri or 'no URI'}: the scheme is not supported; use a file:// or s3:// URI")
    return PLACES[scheme](environ, cache)


class FilePlace:
    """Files and folders of this machine."""

    def __init__(self, environ: Mapping[str, str], cache: Path) -> None:
        del environ, cache  # not needed for local files

    def fetch(self, uri: str, data_type: str, check: Callable[[], None] = lambda: None) -> Path:
        path = local_path(uri)
        if not path.exists():
            raise JobRejected(f"{path} does not exist")
        return path

    def download(self, uri: str, folder: Path, check: Callable[[], None] = lambda: None) -> None:
        if local_path(uri).is_dir():
            shutil.copytree(local_path(uri), folder, dirs_exist_ok=True)

    def upload(self, path: Path, uri: str) -> None:
        target = local_path(uri)
        if path.is_dir():
            for item in sorted(path.rglob("*")):
                place = target / item.relative_to(path)
                if place.is_symlink():  # of another host; copytree would write to its target
                    place.unlink()
            shutil.copytree(path, target, dirs_exist_ok=True, symlinks=True, ignore=without_content)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as draft:
            shutil.copyfile(path, draft)

    def remove(self, uri: str, names: Collection[str]) -> None:
        for name in names:
            (local_path(uri) / name).unlink(missing_ok=True)


def without_content(folder: str, names: list[str]) -> list[str]:
    """Return the entries of a folder that cannot be copied: pipes, sockets and devices. For `shutil.copytree`."""
    modes = {name: Path(folder, name).lstat().st_mode for name in names}
    return [
        name for name, mode in modes.items() if stat.S_IFMT(mode) not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)
    ]


def local_path(uri: str) -> Path:
    """Return the path of a file:// URI."""
    return Path(unquote(urlsplit(uri).path))
