"""Tests of file locks. Without locks, several processes damage an SQLite store."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import sqlite3
import struct
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlencode

import sqlalchemy as sa

from smsweep.errors import UsageError

log = logging.getLogger(__name__)

MOUNTS = Path("/proc/self/mountinfo")
# Types of file systems that other machines can have mounted, too; Linux's names.
NETWORK = (
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "fuse",
    "gpfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "smb3",
    "smbfs",
)
CURE = "set SMSWEEP_DIR to a folder on a local disk, or SMSWEEP_STORE to the URL of a PostgreSQL database"
OF_DRIVER = (
    "uri",
    "timeout",
    "cached_statements",
    "check_same_thread",
    "detect_types",
)  # not SQLite's own options


def check_locks(url: sa.URL) -> None:
    """Test the locks of a folder before an SQLite store is created in it, and warn of a network drive.

    Args:
        url: URL of the store, with SQLite's options. Its folder must exist.

    Raises:
        UsageError: If a lock does not keep another process out.
    """
    folder = database_file(url).absolute().parent
    with contextlib.suppress(OSError, sqlite3.Error):  # opening the store reports what is wrong with the folder
        with tempfile.TemporaryDirectory(prefix=".smsweep-locks-", dir=folder) as scratch:
            file = Path(scratch, "store.db")
            if not (_excludes(file) and _sqlite_excludes(file, url)):
                raise UsageError(
                    f"{folder}: files cannot be locked here, and without locks several processes damage an SQLite "
                    f"store; {CURE}"
                )
        if kind := network_type(folder, MOUNTS):
            log.warning(
                "%s: is on a network drive or a FUSE file system (%s), where SQLite's locks do not hold between "
                "machines; have all agents on one machine, or %s",
                folder,
                kind,
                CURE,
            )


def database_file(url: sa.URL) -> Path:
    """Return the file of an SQLite URL, also where it is one of SQLite's own URIs."""
    name = str(url.database)
    return Path(unquote(name.removeprefix("file:").removeprefix("//")) if "uri" in url.query else name)


def network_type(folder: Path, mounts: Path) -> str:
    """Return the type of a folder's file system if other machines can mount it; "" if not, or if unknown.

    Args:
        folder: The folder.
        mounts: The kernel's table of mounts, which only Linux has.
    """
    device = folder.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        mount, _, source = line.partition(" - ")
        if mount.split(" ")[2:3] == [number]:
            kind = source.partition(" ")[0]
            return kind if kind in NETWORK or kind.startswith("fuse.") else ""
    return ""


def _excludes(file: Path) -> bool:
    """Return True if a lock of SQLite's kind on a file keeps a second opener out."""
    first, second = (os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600) for _ in range(2))
    try:
        return _lock(first) and not _lock(second)
    finally:
        os.close(first)
        os.close(second)


def _lock(fd: int) -> bool:
    """Try to lock a file for its descriptor. A lock of the process would not keep the same process out."""
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    except AttributeError:  # only Linux has them
        return _flock(fd)
    except OSError as err:
        return err.errno == errno.EINVAL and _flock(fd)  # some sandboxes do not have them
    return True


def _flock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _sqlite_excludes(file: Path, url: sa.URL) -> bool:
    """Return True if SQLite itself keeps a second opener out. Options in the URL can turn its locks off."""
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
