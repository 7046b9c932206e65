"""Exclusive locks between threads and processes of this machine."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

POLL_S = 0.05


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
