"""What a command that serves waits for."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def told_to_end() -> Iterator[threading.Event]:
    """Give an event that Ctrl-C and SIGTERM set, while the `with` lasts; main thread only."""
    is_over = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        is_over.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield is_over
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
