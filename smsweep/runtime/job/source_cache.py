"""A small source that is read and checked once, for all the jobs that are forked from this process."""

from __future__ import annotations

import gzip
import os
import tarfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 4 << 20  # of all files
MAX_FILES = 500

# Which file it was (device, inode, size, time) -> path, content (None: a folder), mode and time of each member.
_kept: dict[tuple[int, ...], list[tuple[str, bytes | None, int, float]]] = {}


def keep(tar_path: str) -> None:
    """Read a source tarball for `lay_out`; one at a time. What is large, unusual or broken is left to `unpack`."""
    try:
        key = _identity(tar_path)
        if key in _kept:
            return
        _kept.clear()
        _kept[key] = []  # until it is known better: never looked at again
        if hasattr(tarfile, "data_filter") and key[2] <= MAX_BYTES:
            _kept[key] = list(_members(tar_path))
    except (tarfile.TarError, OSError, EOFError, ValueError):
        return


def lay_out(tar_path: str, folder: str) -> bool:
    """Write a kept source into an empty folder as `unpack` would; False where that cannot be done."""
    if not _kept or os.listdir(folder):
        return False
    members = _kept.get(_identity(tar_path))
    for name, content, mode, time in members or ():
        path = os.path.join(folder, name)
        if content is None:
            os.makedirs(path, exist_ok=True)
            continue
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with open(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(fd, mode)  # whatever the umask
            os.utime(fd, (time, time))
    return bool(members)


def _members(tar_path: str) -> Iterator[tuple[str, bytes | None, int, float]]:
    """Yield plain files and folders under plain names, parents first. Raises ValueError for anything else."""
    n_bytes = 0
    folders: set[str] = set()
    files: set[str] = set()
    with gzip.open(tar_path) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
        for member in tar:
            name, parts = member.name, member.name.split("/")
            n_bytes += member.size
            if not {"", ".", ".."}.isdisjoint(parts) or not (member.isfile() or member.isdir()):
                raise ValueError(name)
            if n_bytes > MAX_BYTES or len(files) == MAX_FILES:
                raise ValueError(tar_path)
            for n in range(1, len(parts) + member.isdir()):
                folder = "/".join(parts[:n])
                if folder not in folders:
                    folders.add(folder)
                    yield folder, None, 0, 0.0
            content = tar.extractfile(member)
            if content:
                files.add(name)
                allowed = tarfile.data_filter(member, os.sep)
                yield name, content.read(), allowed.mode or 0, allowed.mtime
        if files & folders:
            raise ValueError(tar_path)


def _identity(path: str) -> tuple[int, ...]:
    info = os.stat(path)
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns
