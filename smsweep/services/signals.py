"""Context managers that handle SIGINT and SIGTERM. Use them in the main thread only."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], None]
TERMINATED = 143  # exit code after SIGTERM


@contextmanager
def handling(handlers: Mapping[signal.Signals, Handler]) -> Iterator[None]:
    """Install signal handlers, and restore the previous handlers at the end."""
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def stop_event() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C and SIGTERM set. For commands that serve until they are stopped."""
    is_over = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        is_over.set()

    with handling({signal.SIGINT: on_signal, signal.SIGTERM: on_signal}):
        yield is_over


@contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """Raise SystemExit at SIGTERM.

    The kernel ignores SIGTERM for the first process of a container if that process installs no handler.
    """

    def on_terminate(number: int, frame: FrameType | None) -> None:
        raise SystemExit(TERMINATED)

    with handling({signal.SIGTERM: on_terminate}):
        yield
