"""Copies of container logs in files. A copy that was interrupted continues at the end of its file.

The engine stores the complete output of a container (see LOG_CONFIG), and always returns it from the start in the
same order. So a new copy reads the output from the start, and skips the bytes that the file already has.
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

# The driver json-file replaces bytes that are not UTF-8, also a character that is split at its 16 KiB limit. The
# driver `local` keeps all bytes. There is one file without a size limit, because a rotated log has lost its start.
LOG_CONFIG = LogConfig(
    type="local", config={"max-size": "1024t", "max-file": "1", "compress": "false", "mode": "blocking"}
)
PIECE_BYTES = 1 << 14  # the engine splits longer lines into pieces of this size
CHUNK_BYTES = 1 << 18
TAIL_BYTES = 512  # of a log, for a failure reason
HEADER_BYTES = 8  # of a frame: stream number, three zeros, length


def open_log(client: APIClient, container: str, *, follow: bool) -> CancellableStream[bytes]:
    """Open the output of a container.

    Args:
        client: A client of the engine.
        container: The name or id of the container.
        follow: True to wait for further output until the container ends.

    Returns:
        The raw frames of the output, each with its time.

    Raises:
        APIError: If the engine refuses the request.
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
    """Return the last TAIL_BYTES of a log."""
    with os.fdopen(open_file(file, os.O_RDONLY), "rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - TAIL_BYTES))
        return log.read().decode("utf-8", errors="replace").strip()


class LogCopy:
    """Appends the output of a container to a file, without the part that the file already has.

    Args:
        file: The file. It is created if necessary.

    Raises:
        DamagedFile: If it is not a regular file.
    """

    def __init__(self, file: Path) -> None:
        self._file = os.fdopen(open_file(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "ab", buffering=0)
        self._skip = self._file.tell()  # bytes that an earlier copy wrote
        self._rest = b""  # start of an incomplete frame
        self._streams = {1: _Stream(), 2: _Stream()}  # stdout and stderr

    def close(self) -> None:
        self._file.close()

    def feed(self, chunk: bytes) -> None:
        """Process the next bytes of the output."""
        self._write(b"".join(self._lines(chunk)))

    def finish(self) -> None:
        """Write incomplete lines. Call this only at the end of the output."""
        self._write(b"".join(stream.end_line() for stream in self._streams.values()))

    def _lines(self, chunk: bytes) -> Iterator[bytes]:
        """Yield complete lines, so that a line of the other stream does not split a long one."""
        data = self._rest + chunk
        start = 0
        while len(data) - start >= HEADER_BYTES:
            end = start + HEADER_BYTES + int.from_bytes(data[start + 4 : start + HEADER_BYTES], "big")
            if end > len(data):
                break
            text = data.index(b" ", start + HEADER_BYTES) + 1
            yield self._streams[data[start]].add(data[start + HEADER_BYTES : text], data[text:end])
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
    """Joins the pieces of long lines.

    All pieces of a line have the same time. A different time shows the start of another line, because `local` can
    lose the line end of the last piece.
    """

    def __init__(self) -> None:
        self._time = b""  # of the incomplete line
        self._waiting = bytearray()

    def add(self, time: bytes, piece: bytes) -> bytes:
        """Add a piece, and return the lines that are complete now, with their line ends."""
        before = self.end_line() if self._waiting and time != self._time else b""
        if len(piece) != PIECE_BYTES:
            line = piece if piece.endswith(b"\n") else piece + b"\n"
            if self._waiting:
                line = bytes(self._waiting) + line
                self._waiting.clear()
            return before + line
        self._time = time
        self._waiting += piece
        if len(self._waiting) > LINE_BYTES:  # to limit memory, return all but the last piece
            before += bytes(self._waiting[:-PIECE_BYTES])
            del self._waiting[:-PIECE_BYTES]
        return before

    def end_line(self) -> bytes:
        """Return the incomplete line, with a line end."""
        line = bytes(self._waiting)
        self._waiting.clear()
        return line + b"\n" if line and not line.endswith(b"\n") else line
