"""Copy a job's output from the script's pipe to stdout, with its secrets masked."""

from __future__ import annotations

import errno
import json
import os
import re
import select
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

CHUNK_BYTES = 64 * 1024  # a Linux pipe's capacity
TAIL_BYTES = 64 * 1024  # of output, kept for the failure reason
FULL = (errno.ENOSPC, errno.EDQUOT)
DRAIN_S = 5.0  # longest wait for the rest of the pipe after the program's end
MASK = b"***"
MIN_LENGTH = 8  # characters; a shorter value may be part of a metric's name
_NUMBER = re.compile(rb"[0-9.]+")


class Masker:
    """Masks secrets in a stream of bytes, also if a secret is split between chunks."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        pieces = {piece for secret in secrets for piece in _pieces(secret) if len(piece) >= MIN_LENGTH}
        spellings = {spelling for piece in pieces for spelling in (piece, json.dumps(piece)[1:-1])}
        # The longest first, because one secret may be a prefix of another.
        self._secrets = sorted((s.encode("utf-8", "surrogateescape") for s in spellings), key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(_pattern, self._secrets)))
        self._held = b""  # bytes that may be the start of a secret

    def mask(self, chunk: bytes) -> bytes:
        """Return the bytes that can be passed on after this chunk."""
        if not self._secrets:
            return chunk
        data = self._pattern.sub(MASK, self._held + chunk)
        n_held = max(_overlap(data, secret) for secret in self._secrets)
        self._held = data[len(data) - n_held :]
        return data[: len(data) - n_held]

    def rest(self) -> bytes:
        """Return the bytes that were held back. Call it once, at the end of the stream."""
        held, self._held = self._held, b""
        return held


def _pieces(secret: str) -> list[str]:
    """Return a secret and its parts that may be printed alone: without surrounding whitespace, and each line."""
    return [secret, secret.strip(), *(line.strip() for line in secret.splitlines())]


def _pattern(secret: bytes) -> bytes:
    """Return a pattern for a secret. A numeric secret does not match inside a longer number, such as a metric."""
    escaped = re.escape(secret)
    return rb"(?<![0-9.])" + escaped + rb"(?![0-9.])" if _NUMBER.fullmatch(secret) else escaped


def _overlap(data: bytes, secret: bytes) -> int:
    """Return how many bytes at the end of the data are the start of a secret."""
    longest = min(len(data), len(secret) - 1)
    return next((n for n in range(longest, 0, -1) if data.endswith(secret[:n])), 0)


class Pump:
    """Copies a pipe to a file descriptor in its own thread, masks secrets, and keeps the end of the output."""

    def __init__(self, source: int, target: int, secrets: Iterable[str] = ()) -> None:
        self._masker = Masker(secrets)
        self._source = source
        self._target = target
        self._tail = bytearray()
        self.met_full_disk = False  # all output after that is lost
        self._over_read, self._over_write = os.pipe()  # the write end is closed when the program has ended
        self._thread = threading.Thread(target=self._run, name="smsweep-output", daemon=True)
        self._thread.start()

    def finish(self) -> bytes:
        """Copy the rest of the pipe and return the tail. Does not wait for other processes that hold the pipe."""
        os.close(self._over_write)
        self._thread.join(DRAIN_S)
        if not self._thread.is_alive():  # otherwise stdout blocks, and the thread ends with the process
            os.close(self._source)
            os.close(self._over_read)
        return bytes(self._tail[-TAIL_BYTES:])

    def _run(self) -> None:
        self._copy()
        self._pass_on(self._masker.rest())

    def _copy(self) -> None:
        poll = select.poll()
        poll.register(self._source, select.POLLIN)
        poll.register(self._over_read, select.POLLIN)
        deadline = 0.0  # of the drain; 0.0 while the program runs
        while True:
            ready = [fd for fd, _ in poll.poll(0 if deadline else None)]
            if self._over_read in ready:
                poll.unregister(self._over_read)
                deadline = time.monotonic() + DRAIN_S
            if self._source in ready:
                chunk = os.read(self._source, CHUNK_BYTES)
                if not chunk:
                    return
                self._pass_on(self._masker.mask(chunk))
            elif deadline and self._over_read not in ready:
                return  # drained
            if deadline and time.monotonic() > deadline:
                return

    def _pass_on(self, data: bytes) -> None:
        self._tail += data
        if len(self._tail) > 2 * TAIL_BYTES:
            del self._tail[:-TAIL_BYTES]
        view = memoryview(data)
        while view and self._target >= 0:
            try:
                view = view[os.write(self._target, view) :]
            except OSError as err:
                if err.errno == errno.EAGAIN:  # another process made it non-blocking
                    select.select([], [self._target], [], 1.0)
                else:
                    self.met_full_disk = err.errno in FULL
                    self._target = -1  # stdout has no reader; the program continues
