"""The standard streams: log messages on stderr, and streams that the reader closes."""

from __future__ import annotations

import errno
import io
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import TextIO

from smsweep.util.terminal_text import NOTE

QUIET, NORMAL, VERBOSE, DEBUG = -1, 0, 1, 2
LEVELS = {QUIET: logging.ERROR, NORMAL: NOTE, VERBOSE: logging.INFO, DEBUG: logging.DEBUG}
CLOSED = (errno.EPIPE, errno.EIO)  # the reader closed the pipe; the terminal closed
LOGGER = logging.getLogger("smsweep")


class StderrHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        write_err(self.format(record))


class Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        record.levelname = record.levelname.lower()
        return super().format(record)


def write_err(line: str) -> None:
    """Write a line to the current `sys.stderr`, which a live display replaces to print above itself.

    `typer.echo` does not work for this, because it bypasses the replaced stream.
    """
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def set_level(level: int) -> None:
    """Set the log level: QUIET, NORMAL, VERBOSE or DEBUG. DEBUG adds time and logger name."""
    level = max(QUIET, min(level, DEBUG))
    prefix = "%(asctime)s %(name)s " if level == DEBUG else ""
    handler = StderrHandler()
    handler.setFormatter(Formatter(f"{prefix}%(levelname)s: %(message)s"))
    LOGGER.handlers[:] = [handler]
    LOGGER.propagate = False
    LOGGER.setLevel(LEVELS[level])


def is_quiet() -> bool:
    return LOGGER.level >= logging.ERROR


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


def can_be_live(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown") and not is_quiet()
