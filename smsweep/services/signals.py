"""Signals, while something lasts; in the main thread only."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], None]
TERMINATED = 143  # exit code after a SIGTERM


@contextmanager
def handling(handlers: Mapping[signal.Signals, Handler]) -> Iterator[None]:
    """Give each of the signals its handler, and in the end back the one that it had."""
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def told_to_end() -> Iterator[threading.Event]:
    """Give an event that Ctrl-C and SIGTERM set, for a command that serves."""
    is_over = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        is_over.set()

    with handling({signal.SIGINT: on_signal, signal.SIGTERM: on_signal}):
        yield is_over


@contextmanager
def leaving_at_once() -> Iterator[None]:
    """End in an orderly way at SIGTERM, also as a container's first process, which the kernel spares otherwise."""

    def on_terminate(number: int, frame: FrameType | None) -> None:
        raise SystemExit(TERMINATED)

    with handling({signal.SIGTERM: on_terminate}):
        yield
