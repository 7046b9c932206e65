"""A container's output as a file that grows, whoever watches and however often the watcher is replaced.

The engine keeps all of a container's output (see LOG_CONFIG) and gives it out from the beginning, always in the
same order. So a copy that broke off goes on exactly where its file ends: it reads from the start and drops what
the file has.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import requests
from docker import APIClient
from docker.errors import create_api_error_from_http_exception
from docker.types import CancellableStream, LogConfig

from smsweep.backends.local.job_files import LINE_BYTES, open_file

# `local` keeps bytes as they are, where json-file replaces what is not UTF-8, which includes any character that
# happens to straddle its 16 KiB pieces. One file without end: a rotated log could not be read from its beginning.
LOG_CONFIG = LogConfig(
    type="local", config={"max-size": "1024t", "max-file": "1", "compress": "false", "mode": "blocking"}
)
PIECE_BYTES = 1 << 14  # the engine cuts longer lines into such pieces
CHUNK_BYTES = 1 << 18
TAIL_BYTES = 512
HEADER_BYTES = 8  # of a frame: stream number, three zeros, length


def open_log(client: APIClient, container: str, *, follow: bool) -> CancellableStream[bytes]:
    """Return the raw frames of all output so far, each with its time, and with follow of what is still to come.

    Raises APIError, as the engine's other calls do.
    """
    response = client.get(
        f"{client.base_url}/v{client.api_version}/containers/{container}/logs",
        params={"stdout": 1, "stderr": 1, "timestamps": 1, "follow": int(follow)},
        stream=True,
        timeout=None,
    )
    try:
        response.raise_for_status()
    except requests.HTTPError as err:
        raise create_api_error_from_http_exception(err) from err
    return CancellableStream(response.iter_content(CHUNK_BYTES), response)


def tail(file: Path) -> str:
    """Return the last lines of a log, as far as they fit into a failure's reason."""
    with os.fdopen(open_file(file, os.O_RDONLY), "rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - TAIL_BYTES))
        return log.read().decode("utf-8", errors="replace").strip()


class LogCopy:
    """Turns one reading of a container's output, from its beginning, into more of a file."""

    def __init__(self, file: Path) -> None:
        self._file = os.fdopen(open_file(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "ab", buffering=0)
        self._skip = self._file.tell()  # bytes that an earlier copy has written
        self._rest = b""  # of a frame whose end has not come
        self._streams = {1: _Stream(), 2: _Stream()}  # stdout and stderr

    def close(self) -> None:
        self._file.close()

    def feed(self, chunk: bytes) -> None:
        self._write(b"".join(self._lines(chunk)))

    def finish(self) -> None:
        """Write what waits for more; only for an output that is over."""
        self._write(b"".join(stream.end_line() for stream in self._streams.values()))

    def _lines(self, chunk: bytes) -> Iterator[bytes]:
        """Yield complete lines, so that a long one is not torn by a line of the other stream."""
        data = self._rest + chunk
        start = 0
        while len(data) - start >= HEADER_BYTES:
            end = start + HEADER_BYTES + int.from_bytes(data[start + 4 : start + HEADER_BYTES], "big")
            if end > len(data):
                break
            text = data.index(b" ", start + HEADER_BYTES) + 1
            yield self._streams[data[start]].take(data[start + HEADER_BYTES : text], data[text:end])
            start = end
        self._rest = data[start:]

    def _write(self, data: bytes) -> None:
        if self._skip >= len(data):
            self._skip -= len(data)
            return
        view = memoryview(data)[self._skip :]
        self._skip = 0
        while view:
            view = view[self._file.write(view) :]


class _Stream:
    """Puts the pieces of long lines together again.

    All pieces of a line carry the same time. That is how they are told apart: `local` may lose the line end of
    the last piece.
    """

    def __init__(self) -> None:
        self._time = b""  # of the line that waits for more
        self._waiting = bytearray()

    def take(self, time: bytes, piece: bytes) -> bytes:
        """Return what is complete now, with its line end."""
        before = self.end_line() if self._waiting and time != self._time else b""
        if len(piece) != PIECE_BYTES:
            line = piece if piece.endswith(b"\n") else piece + b"\n"
            if self._waiting:
                line = bytes(self._waiting) + line
                self._waiting.clear()
            return before + line
        self._time = time
        self._waiting += piece
        if len(self._waiting) > LINE_BYTES:  # memory is bounded: hand out all but the last piece
            before += bytes(self._waiting[:-PIECE_BYTES])
            del self._waiting[:-PIECE_BYTES]
        return before

    def end_line(self) -> bytes:
        line = bytes(self._waiting)
        self._waiting.clear()
        return line + b"\n" if line and not line.endswith(b"\n") else line
