"""Both streams when nobody reads them any more, as at the end of `smsweep trials ID | head -1`."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Callable

CLOSED = (errno.EPIPE, errno.EIO)  # the reader has gone; the terminal has


class Pipe(io.RawIOBase):
    """Writes to a file descriptor until that takes no more, and then to nowhere. on_failed: is told why, once."""

    def __init__(self, descriptor: int, on_failed: Callable[[OSError], object]) -> None:
        self._descriptor = descriptor
        self._on_failed = on_failed
        self._is_broken = False

    def write(self, data: object) -> int:
        chunk = memoryview(data)  # type: ignore[arg-type]  # a buffer, which has no type before Python 3.12
        written = 0
        try:
            while written < len(chunk) and not self._is_broken:
                written += os.write(self._descriptor, chunk[written:])
        except OSError as err:
            self._is_broken = True
            self._on_failed(err)
        return len(chunk)

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True


def guard() -> None:
    """End this process quietly once nobody reads its answers, as git does; its talk may go unheard.

    So an agent whose `| tee` a Ctrl-C has ended still finishes its trials. A stream that is closed from the
    start, as by `>&-`, writes to nowhere: a file opened later would get its number, and its words.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            os.set_inheritable(opened, True)  # as these three are
    if sys.stdout is sys.__stdout__:
        sys.stdout = _guarded(1, sys.stdout, _end)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _guarded(2, sys.stderr, lambda _: None)


def _guarded(descriptor: int, stream: object, on_failed: Callable[[OSError], object]) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        Pipe(descriptor, on_failed),  # type: ignore[arg-type]  # as Python itself does for `-u`
        encoding=getattr(stream, "encoding", "utf-8"),
        errors="backslashreplace",  # an ASCII terminal is no reason to fail
        write_through=True,  # a signal's handler talks, too, which a buffer in use would refuse
    )


def _end(err: OSError) -> None:
    """End quietly where the reader has gone. Raises for all else, such as a full disk, with the stream's name."""
    if err.errno not in CLOSED:
        raise OSError(err.errno, err.strerror, "stdout") from err
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.raise_signal(signal.SIGPIPE)
