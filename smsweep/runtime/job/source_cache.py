"""Cache a small source tarball, so that all jobs that this process forks read and check it only once."""

from __future__ import annotations

import gzip
import os
import tarfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 4 << 20  # of all files
MAX_FILES = 500

# Identity of the tarball (device, inode, size, time) -> path, content (None: a folder), mode and time per member.
_cached: dict[tuple[int, ...], list[tuple[str, bytes | None, int, float]]] = {}


def cache(tar_path: str) -> None:
    """Read a tarball for `extract_cached`. Holds one tarball; ignores large, unusual and broken ones."""
    try:
        key = _identity(tar_path)
        if key in _cached:
            return
        _cached.clear()
        _cached[key] = []  # if the next lines fail, the tarball is not read again
        if hasattr(tarfile, "data_filter") and key[2] <= MAX_BYTES:
            _cached[key] = list(_members(tar_path))
    except (tarfile.TarError, OSError, EOFError, ValueError):
        return


def extract_cached(tar_path: str, folder: str) -> bool:
    """Write a cached tarball into an empty folder, as `unpack` does. Return False if it is not cached."""
    if not _cached or os.listdir(folder):
        return False
    members = _cached.get(_identity(tar_path))
    for name, content, mode, time in members or ():
        path = os.path.join(folder, name)
        if content is None:
            os.makedirs(path, exist_ok=True)
            continue
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with open(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(fd, mode)  # independent of the umask
            os.utime(fd, (time, time))
    return bool(members)


def _members(tar_path: str) -> Iterator[tuple[str, bytes | None, int, float]]:
    """Yield plain files and folders with plain names, parents first. Raises ValueError for any other member."""
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
