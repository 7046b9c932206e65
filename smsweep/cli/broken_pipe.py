"""stdout and stderr after their reader has closed them, as in `smsweep trials ID | head -1`."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Callable

CLOSED = (errno.EPIPE, errno.EIO)  # the reader closed the pipe; the terminal closed


class Pipe(io.RawIOBase):
    """Writes to a file descriptor until a write fails; discards everything after that.

    Args:
        descriptor: The file descriptor.
        on_failed: Called once with the error of the first failed write.
    """

    def __init__(self, descriptor: int, on_failed: Callable[[OSError], object]) -> None:
        self._descriptor = descriptor
        self._on_failed = on_failed
        self._is_broken = False

    def write(self, data: object) -> int:
        chunk = memoryview(data)  # type: ignore[arg-type]  # the buffer protocol has no type before Python 3.12
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
    """Exit quietly when the reader of stdout closes it, as git does. Ignore a closed stderr.

    So an agent whose `2>&1 | tee` was ended by Ctrl-C still finishes its trials. A stream that is closed from the
    start, as with `>&-`, writes to /dev/null: else a file that is opened later gets its descriptor and its output.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
            os.set_inheritable(opened, True)  # like the standard streams
    if sys.stdout is sys.__stdout__:
        sys.stdout = _guarded(1, sys.stdout, _end)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _guarded(2, sys.stderr, lambda _: None)


def _guarded(descriptor: int, stream: object, on_failed: Callable[[OSError], object]) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        Pipe(descriptor, on_failed),  # type: ignore[arg-type]  # as Python does for `-u`
        encoding=getattr(stream, "encoding", "utf-8"),
        errors="backslashreplace",  # an ASCII terminal must not cause an error
        write_through=True,  # signal handlers print too, and a buffer in use raises an error
    )


def _end(err: OSError) -> None:
    """Exit quietly if the reader has closed stdout. Raise OSError for other errors, such as a full disk."""
    if err.errno not in CLOSED:
        raise OSError(err.errno, err.strerror, "stdout") from err
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.raise_signal(signal.SIGPIPE)
