"""Safe access to files in a folder that other processes can write to: regular files only, atomic writes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat

# Opening a pipe blocks until its other end is open, and a link leads anywhere.
_SAFE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_plain(path: str, flags: int = os.O_RDONLY, mode: int = 0o666) -> int:
    """Open a regular file and return its descriptor. Never blocks, follows no link at the end of the path.

    Raises:
        OSError: With EISDIR if the path is a folder, ELOOP if it is a link, EINVAL or ENXIO if it is a pipe, a
            socket or a device.
    """
    fd = os.open(path, flags | _SAFE, mode)
    try:
        kind = os.fstat(fd).st_mode
        if not stat.S_ISREG(kind):
            raise OSError(errno.EISDIR if stat.S_ISDIR(kind) else errno.EINVAL, "not a regular file", path)
        fcntl.fcntl(fd, fcntl.F_SETFL, flags & os.O_APPEND)  # a child that inherits it expects blocking reads
    except BaseException:
        os.close(fd)
        raise
    return fd


def write_whole(path: str, text: str) -> None:
    """Write a small file under a temporary name, then rename it. Replaces a link, a pipe or another file.

    Raises:
        OSError: If the path is a folder, or the file cannot be written.
    """
    draft = f"{path}.{os.getpid()}.part"
    with contextlib.suppress(FileNotFoundError):
        os.remove(draft)
    try:
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE, 0o666)
        with open(fd, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
        os.replace(draft, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(draft)
        raise
