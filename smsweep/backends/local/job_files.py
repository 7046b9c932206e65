"""Read and write the files in a job's folder: small files, and pages of its log.

The job's script can change these files. A damaged file fails only that job.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from smsweep.core.job import LogPage
from smsweep.errors import BackendUnavailable
from smsweep.runtime.script.records import MARK, MAX_RECORD_BYTES
from smsweep.runtime.system import open_plain, write_whole

MAX_BYTES = 1 << 16  # of a small file
MAX_REQUEST_BYTES = 1 << 24  # the hyperparameters alone can have 250,000 bytes
LAST_TIME_S = 2e11  # since 1970, in the year 8307; a later time plus a duration may not be a valid date
LONGEST_S = 1e10  # limit of a plausible uptime: 300 years
UPTIME = "uptime"  # the file's name
PROBLEMS = {
    errno.EINVAL: "not a regular file",
    errno.EISDIR: "a folder",
    errno.ELOOP: "a symbolic link",
    errno.ENOTDIR: "not in a folder",
    errno.ENXIO: "a pipe or a socket",
    errno.EACCES: "not accessible to smsweep",
    errno.EPERM: "not accessible to smsweep",
}
PAGE_BYTES = 1 << 20  # of one page
LINE_BYTES = 1 << 20  # a longer line is split


class DamagedFile(Exception):
    """A file in a job's folder is not the one that smsweep wrote. The text is for the user."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(
            f"its job folder is damaged: {path.name} is {what}; only smsweep may write to {path.parent}; "
            "change the script so that it writes to another folder"
        )


def read_text(path: Path, max_bytes: int = MAX_BYTES) -> str:
    """Return the text of a regular file.

    Raises:
        FileNotFoundError: If the file does not exist.
        DamagedFile: If it is not a regular file, is too large, or is not text.
        BackendUnavailable: If the file system cannot read it now.
    """
    with _translated(path), os.fdopen(open_plain(os.fspath(path)), "rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise DamagedFile(path, f"larger than {max_bytes:,} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise DamagedFile(path, "not text") from None


def read_object(path: Path, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """Return the JSON object in a regular file. Raises the errors of `read_text`."""
    try:
        document = json.loads(read_text(path, max_bytes))
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise DamagedFile(path, "not a JSON object")
    return document


def read_request(path: Path) -> dict[str, Any]:
    """Return the request of the job in whose folder the file is. Raises DamagedFile, BackendUnavailable."""
    try:
        request = read_object(path, MAX_REQUEST_BYTES)
    except FileNotFoundError:
        raise DamagedFile(path, "missing") from None
    if request.get("TrainingJobName") != path.parent.name:
        raise DamagedFile(path, "not the job's request")
    return request


def find_object(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in a regular file, or None if it cannot be read."""
    try:
        return read_object(path, MAX_REQUEST_BYTES)
    except (OSError, DamagedFile, BackendUnavailable):
        return None


def write_text(path: Path, text: str) -> None:
    """Write a small file atomically. Raises DamagedFile, BackendUnavailable."""
    with _translated(path):
        write_whole(os.fspath(path), text)


def rename(path: Path, to: Path) -> None:
    """Rename a file. Raises DamagedFile, BackendUnavailable."""
    with _translated(to):
        path.rename(to)


def open_file(path: Path, flags: int, mode: int = 0o600) -> int:
    """Open a regular file and return its descriptor. Raises the errors of `read_text`."""
    with _translated(path):
        return open_plain(os.fspath(path), flags, mode)


def read_uptime(folder: Path) -> list[float]:
    """Return the machine's uptime in seconds at the start of a job and, if known, at its end.

    The list is empty if neither is known, for example for a job of an older smsweep.
    """
    try:
        uptimes = json.loads(read_text(folder / UPTIME))
        return [float(seconds) for seconds in uptimes if 0 <= seconds < LONGEST_S]
    except (DamagedFile, FileNotFoundError, TypeError, ValueError, RecursionError):
        return []


def modified_at(path: Path) -> datetime | None:
    """Return the time of the last write to a regular file, or None if the file does not exist.

    Raises the errors of `read_text`.
    """
    try:
        fd = open_file(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        seconds = os.fstat(fd).st_mtime
    finally:
        os.close(fd)
    if not 0 <= seconds < LAST_TIME_S:
        raise DamagedFile(path, "dated outside the valid range")
    return datetime.fromtimestamp(seconds, timezone.utc)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as err:
        if err.errno in PROBLEMS:
            raise DamagedFile(path, PROBLEMS[err.errno]) from err
        raise BackendUnavailable(f"{path}: {err.strerror or err}") from err


def read_page(file: Path, cursor: str, *, is_complete: bool) -> LogPage:
    """Return the next whole lines of a log, at most PAGE_BYTES.

    A line longer than LINE_BYTES is split, to limit memory. A missing file has an empty page.

    Args:
        file: The log.
        cursor: The cursor of the previous page, which is a byte offset; "" for the first page.
        is_complete: The log is complete, so a last line without a line end is returned as well.

    Raises:
        DamagedFile: If the log is not a regular file.
        BackendUnavailable: If the file system cannot read it now.
    """
    offset = int(cursor or 0)
    try:
        with os.fdopen(open_file(file, os.O_RDONLY), "rb") as log:
            log.seek(offset)
            data = log.read(PAGE_BYTES)
    except FileNotFoundError:
        return LogPage(lines=(), cursor=cursor, is_last=is_complete)
    reached_end = len(data) < PAGE_BYTES
    if not data:
        return LogPage(lines=(), cursor=cursor, is_last=is_complete)
    if not (reached_end and is_complete):
        end = data.rfind(b"\n") + 1
        if not end and len(data) >= LINE_BYTES:
            # Split a progress bar between two states, and other lines before a record that may start near the end.
            record = data.rfind(MARK[:1].encode(), len(data) - MAX_RECORD_BYTES)
            end = data.rfind(b"\r") + 1 or max(record, 0) or len(data)
        data = data[:end]
    if not data:
        return LogPage(lines=(), cursor=cursor)
    lines = tuple(line.decode("utf-8", errors="replace").rstrip("\r") for line in data.split(b"\n"))
    if lines[-1] == "":
        lines = lines[:-1]
    return LogPage(lines=lines, cursor=str(offset + len(data)), is_last=reached_end and is_complete)
