"""What the runtime needs of the operating system: regular files, atomic writes, file owners, the uptime."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from smsweep.runtime.opt_ml_layout import Layout

# Opening a pipe blocks until its other end is open, and a link can lead to any file.
_SAFE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
VARIABLE = "SMSWEEP_OWNER"  # uid:gid, set by `--backend docker` for a caller who is not root
_PROC = "/proc/uptime"


def open_plain(path: str, flags: int = os.O_RDONLY, mode: int = 0o666) -> int:
    """Open a regular file and return its descriptor. Never blocks; follows no link at the end of the path.

    Args:
        path: Path of the file.
        flags: As for os.open.
        mode: Mode of a new file.

    Raises:
        OSError: With EISDIR if the path is a folder, ELOOP if it is a link, EINVAL or ENXIO if it is a pipe, a
            socket or a device.
    """
    fd = os.open(path, flags | _SAFE, mode)
    try:
        kind = os.fstat(fd).st_mode
        if not stat.S_ISREG(kind):
            raise OSError(errno.EISDIR if stat.S_ISDIR(kind) else errno.EINVAL, "not a regular file", path)
        fcntl.fcntl(fd, fcntl.F_SETFL, flags & os.O_APPEND)  # programs that inherit it expect it to block
    except BaseException:
        os.close(fd)
        raise
    return fd


def write_whole(path: str, text: str) -> None:
    """Write a small file under another name, then replace `path` with it, whatever kind of file that is.

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


def give_to_owner(layout: Layout, owner: str) -> None:
    """Change the owner of everything below the ml root except the inputs. Does nothing without an owner or root.

    Errors are ignored: the Docker backend, which sets the variable, checks the owner again.

    Args:
        layout: Paths of the job.
        owner: "uid:gid", or "".
    """
    if not owner or os.getuid() != 0:
        return
    uid, _, gid = owner.partition(":")
    for top in (layout.checkpoints, layout.code, layout.model, layout.output, layout.params):
        _give(top, int(uid), int(gid))
        for folder, folders, files in os.walk(top):
            for name in folders + files:
                _give(os.path.join(folder, name), int(uid), int(gid))


def _give(path: str, uid: int, gid: int) -> None:
    with contextlib.suppress(OSError):
        os.chown(path, uid, gid, follow_symlinks=False)


def uptime_s() -> float:
    """Return the seconds since this machine was started, the same for all of its processes.

    On Linux the time includes suspended time. Without /proc it is Python's monotonic clock, which also begins at
    the start of the machine on the systems that smsweep supports.
    """
    try:
        with open(_PROC, "rb") as file:
            return float(file.read().split()[0])
    except (OSError, ValueError, IndexError):
        return time.monotonic()
