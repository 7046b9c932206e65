"""One at a time, among threads and processes of this machine."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

POLL_S = 0.05


@contextmanager
def exclusive(file: Path, check: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Wait until nobody else is in such a block for this file; whoever dies in it leaves it.

    check: called while waiting; what it raises ends the wait.
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
    """Tell whether somebody is in such a block."""
    with file.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
