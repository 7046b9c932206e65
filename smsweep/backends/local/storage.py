"""Where channels come from and results go to, by the scheme of a URI."""

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
    """Made from (the caller's environment, a folder for what is worth keeping between jobs)."""

    def fetch(self, uri: str, data_type: str, check: Check = lambda: None) -> Path:
        """Return a file or folder of this machine that shows what is at uri; it is not to be changed.

        data_type: SageMaker's S3DataType. check: called now and then; what it raises ends the wait.
        Raises JobRejected when there is nothing.
        """
        ...

    def download(self, uri: str, folder: Path, check: Check = lambda: None) -> None:
        """Copy what is below uri into folder. Nothing there: nothing happens. check: as above."""
        ...

    def upload(self, path: Path, uri: str) -> None:
        """Copy a file to uri, or a folder's contents below it."""
        ...

    def remove(self, uri: str, names: Collection[str]) -> None:
        """Remove files below uri, by their paths; what is not there is no trouble."""
        ...


# boto3 takes a while to import, and most local jobs have only local channels.
PLACES: LazyTable[Callable[[Mapping[str, str], Path], Place]] = LazyTable(
    {
        "file": "smsweep.backends.local.storage:FilePlace",
        "s3": "smsweep.backends.local.s3_storage:S3Place",
    }
)


def place_of(uri: str, environ: Mapping[str, str], cache: Path) -> Place:
    """Raises JobRejected for a URI of an unknown scheme."""
    scheme = urlsplit(uri).scheme
    if scheme not in PLACES:
        raise JobRejected(f"{uri or 'no URI'}: cannot be reached from here; give a file:// or s3:// URI")
    return PLACES[scheme](environ, cache)


class FilePlace:
    def __init__(self, environ: Mapping[str, str], cache: Path) -> None:
        del environ, cache  # what is here already needs neither

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
                if place.is_symlink():  # another host's: copytree would write to where it leads
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
    """Return which of a folder's entries are pipes, sockets or devices: nothing can be copied of those."""
    modes = {name: Path(folder, name).lstat().st_mode for name in names}
    return [
        name for name, mode in modes.items() if stat.S_IFMT(mode) not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)
    ]


def local_path(uri: str) -> Path:
    return Path(unquote(urlsplit(uri).path))
