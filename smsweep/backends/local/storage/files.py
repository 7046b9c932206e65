"""Folders of this machine in S3's place."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from smsweep.errors import JobRejected
from smsweep.util.atomic_file import replacing


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
