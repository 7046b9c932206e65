"""Write a file or folder completely or not at all, and lock a file between threads and processes."""

from __future__ import annotations

import fcntl
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from smsweep.errors import UsageError

POLL_S = 0.05


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a new path in the same folder. After the block it replaces `path` in one step.

    If the block raises, `path` keeps its content and the new path is removed. A reader sees the old content or
    the new content, never a part. Code inside a job uses `runtime.plain_files.write_whole` instead.

    Args:
        path: The file to create or replace. A folder can only be created, or replace an empty folder.

    Yields:
        A path that does not exist. The block creates a file or a folder there.

    Raises:
        OSError: If the new content cannot be written or moved.
    """
    scratch = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        yield scratch
        scratch.replace(path)
    finally:
        with suppress(FileNotFoundError):
            shutil.rmtree(scratch) if scratch.is_dir() else scratch.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step, as UTF-8.

    Raises:
        OSError: If the file cannot be written.
    """
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def check_output(path: Path, *, force: bool) -> None:
    """Check that the user can write an output file.

    Args:
        path: The output file.
        force: If True, an existing file can be replaced.

    Raises:
        UsageError: If the path is a folder, its folder does not exist, or the file exists and `force` is False.
    """
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; name a file in it")
    if path.is_file() and not force:
        raise UsageError(f"{path}: exists; name another file, or replace it with --force")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: cannot be written: there is no folder {path.parent}; make it, or name another")


@contextmanager
def open_output(path: Path, *, force: bool) -> Iterator[Path]:
    """Yield the path to write an output file to. After the block the file is complete, and on an error unchanged.

    An existing file keeps its mode, and a link stays a link. A pipe or a device is written to directly.

    Args:
        path: The output file.
        force: If True, an existing file can be replaced.

    Raises:
        UsageError: If `check_output` rejects the path.
        OSError: If the file cannot be written.
    """
    check_output(path, force=force)
    if path.exists() and not path.is_file():
        yield path
        return
    target = path.resolve()
    with replacing(target) as scratch:
        yield scratch
        if target.exists():
            scratch.chmod(target.stat().st_mode)


def write_output(path: Path, fill: Callable[[Path], object], *, force: bool) -> None:
    """Let `fill` write an output file.

    Args:
        path: The output file.
        fill: Writes the content to the path that it gets.
        force: If True, an existing file can be replaced.

    Raises:
        UsageError: If the file cannot be written.
    """
    try:
        with open_output(path, force=force) as scratch:
            fill(scratch)
    except OSError as err:
        why = err.strerror or str(err)
        raise UsageError(f"{path}: cannot be written: {why}; name another file, or make room") from err


@contextmanager
def exclusive(file: Path, check: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold an exclusive lock on a file during the block. The operating system releases it if the process dies.

    Args:
        file: The lock file. It is created, with its folder, if it does not exist.
        check: Called every 50 ms while waiting. If it raises, the wait ends.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                check()
                time.sleep(POLL_S)
        yield


def is_held(file: Path) -> bool:
    """Return True if a thread or a process holds the lock."""
    with file.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
