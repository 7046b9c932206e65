"""Checks that files in a folder can be locked. Without locks, several processes damage an SQLite store."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import sqlite3
import struct
import sys
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlencode

import sqlalchemy as sa

from smsweep.errors import UsageError, docs_url

log = logging.getLogger(__name__)

MOUNTS = Path("/proc/self/mountinfo")
# Names of file systems on Linux and macOS that other machines can mount too.
NETWORK = (
    "9p",
    "afpfs",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "fuse",
    "gpfs",
    "lustre",
    "macfuse",
    "ncpfs",
    "nfs",
    "nfs4",
    "smb3",
    "smbfs",
    "webdav",
)
FIX = (
    "set SMSWEEP_DIR to a folder on a local disk, or SMSWEEP_STORE to the URL of a PostgreSQL database; "
    f"see {docs_url('store#location')}"
)
OF_DRIVER = (
    "uri",
    "timeout",
    "cached_statements",
    "check_same_thread",
    "detect_types",
)  # options of the driver, not of SQLite


def check_locks(url: sa.URL) -> None:
    """Test the locks in the folder of a new SQLite store, and warn if it is on a network drive.

    Args:
        url: URL of the store, with SQLite's options. Its folder exists.

    Raises:
        UsageError: If a lock does not exclude other processes.
    """
    folder = database_file(url).absolute().parent
    with contextlib.suppress(OSError, sqlite3.Error):  # opening the store reports what is wrong with the folder
        with tempfile.TemporaryDirectory(prefix=".smsweep-locks-", dir=folder) as scratch:
            file = Path(scratch, "store.db")
            if not (_excludes(file) and _sqlite_excludes(file, url)):
                raise UsageError(
                    f"{folder}: files cannot be locked here, and without locks several processes damage an SQLite "
                    f"store; {FIX}"
                )
        if kind := network_type(folder, MOUNTS):
            log.warning(
                "%s: is on a network drive or a FUSE file system (%s), where SQLite's locks do not hold between "
                "machines; have all agents on one machine, or %s",
                folder,
                kind,
                FIX,
            )


def database_file(url: sa.URL) -> Path:
    """Return the file of an SQLite URL, also if it is a URI of SQLite."""
    name = str(url.database)
    return Path(unquote(name.removeprefix("file:").removeprefix("//")) if "uri" in url.query else name)


def network_type(folder: Path, mounts: Path) -> str:
    """Return the type of a folder's file system if it can be a network drive; "" if not, or if it is unknown.

    Args:
        folder: The folder.
        mounts: The kernel's table of mounts. Only Linux has it; on other systems psutil lists the mounts.
    """
    device = folder.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return _type_of_mount(folder.resolve())
    for line in lines:
        mount, _, source = line.partition(" - ")
        if mount.split(" ")[2:3] == [number]:
            kind = source.partition(" ")[0]
            return kind if kind in NETWORK or kind.startswith("fuse.") else ""
    return ""


def _type_of_mount(folder: Path) -> str:
    """Return the type of the file system that is mounted above a folder, as `network_type` does."""
    import psutil  # slow to import, and not needed on Linux

    kinds: dict[Path, str] = {Path(mount.mountpoint): mount.fstype for mount in psutil.disk_partitions(all=True)}
    kind = next((kinds[parent] for parent in (folder, *folder.parents) if parent in kinds), "")
    return kind if kind in NETWORK else ""


def _excludes(file: Path) -> bool:
    """Return True if a lock of the kind that SQLite uses excludes another open file description."""
    first, second = (os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600) for _ in range(2))
    try:
        return _lock(first) and not _lock(second)
    finally:
        os.close(first)
        os.close(second)


def _lock(fd: int) -> bool:
    """Lock an open file description. A lock of the process does not exclude the process itself."""
    if sys.platform.startswith("linux"):
        try:
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
            return True
        except OSError as err:
            if err.errno != errno.EINVAL:  # some sandboxes do not have these locks
                return False
    return _flock(fd)


def _flock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _sqlite_excludes(file: Path, url: sa.URL) -> bool:
    """Return True if SQLite excludes a second writer. Options in the URL can change or disable its locks."""
    options = {name: value for name, value in url.query.items() if "uri" in url.query and name not in OF_DRIVER}
    name = f"{file.as_uri()}?{urlencode(options)}"
    with contextlib.ExitStack() as stack:
        first, second = (
            stack.enter_context(
                contextlib.closing(sqlite3.connect(name, uri=True, timeout=0, isolation_level=None))
            )
            for _ in range(2)
        )
        first.execute("BEGIN IMMEDIATE")
        try:
            second.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        return False
