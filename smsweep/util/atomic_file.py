"""Write a file whole or not at all, and never over another by accident."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from smsweep.errors import UsageError


def refuse(path: Path, *, force: bool) -> None:
    """Raise UsageError for a file that is there, unless it may be replaced; for a folder that is not there."""
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; name a file in it")
    if path.is_file() and not force:
        raise UsageError(f"{path}: exists; name another file, or replace it with --force")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: cannot be written: there is no folder {path.parent}; make it, or name another")


@contextmanager
def draft(path: Path, *, force: bool) -> Iterator[Path]:
    """Yield where to write what becomes the file, with the mode it will have; on an error nothing is left.

    A pipe or a device is written to as it is. Raises UsageError.
    """
    refuse(path, force=force)
    if path.exists() and not path.is_file():
        yield path
        return
    target = path.resolve()  # a link stays one
    scratch = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield scratch
        if target.exists():
            scratch.chmod(target.stat().st_mode)
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)


def write(path: Path, fill: Callable[[Path], object], *, force: bool) -> None:
    """Let fill write the file. Raises UsageError when it cannot be written."""
    try:
        with draft(path, force=force) as scratch:
            fill(scratch)
    except OSError as err:
        why = err.strerror or str(err)
        raise UsageError(f"{path}: cannot be written: {why}; name another file, or make room") from err
