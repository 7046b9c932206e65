"""The agent's end of the two pipes to the process launcher."""

from __future__ import annotations

import contextlib
import json
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

from smsweep.errors import BackendUnavailable

LAUNCHER = Path(__file__).with_name("fork_server.py")
READ_BYTES = 65_536


class LauncherClient:
    """Starts the launcher at the first order, and again should it have died."""

    def __init__(self, runtime_zip: Path) -> None:
        self._runtime_zip = runtime_zip
        self._process: subprocess.Popen[bytes] | None = None
        self._unread = b""  # of its stdout: less than a line
        self._has_news = False  # a job has ended since the last wait

    def ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Give one order and return its answer. Raises BackendUnavailable when the launcher is gone."""
        process = self._running()
        try:
            _write(_stdin(process), json.dumps(order).encode() + b"\n")
            while True:
                for line in self._lines(process):
                    answer: dict[str, Any] = json.loads(line)
                    if "ended" not in answer:
                        return answer
                    self._has_news = True
        except OSError as err:
            raise BackendUnavailable(f"the process launcher is gone: {err}") from err

    def wait(self, timeout_s: float) -> None:
        """Sleep so long, or shorter when a job has ended meanwhile."""
        process = self._process
        if not self._has_news:
            if process is None or process.poll() is not None:
                time.sleep(timeout_s)  # the next order will meet a new launcher
            elif select.select([_stdout(process)], [], [], timeout_s)[0]:
                with contextlib.suppress(BackendUnavailable):  # the next order will say so
                    list(self._lines(process))  # with no order open, a line can only be news
        self._has_news = False

    def close(self) -> None:
        if self._process is not None:
            self._process.communicate()
            self._process = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self.close()
        if self._process is None:
            argv = [sys.executable, "-I", "-S", str(LAUNCHER), str(self._runtime_zip)]
            # A session of its own: Ctrl-C in the terminal is for the agent to understand, not for the jobs.
            self._process = subprocess.Popen(
                argv, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, env={}
            )
            self._unread = b""
        return self._process

    def _lines(self, process: subprocess.Popen[bytes]) -> Iterator[bytes]:
        """Wait for some output and yield its whole lines. Raises BackendUnavailable at its end."""
        data = _stdout(process).read(READ_BYTES)
        if not data:
            process.wait()
            raise BackendUnavailable("the process launcher ended without an answer; its error is on stderr")
        *lines, self._unread = (self._unread + data).split(b"\n")
        yield from lines


def _write(pipe: IO[bytes], data: bytes) -> None:
    """Write it all: a signal whose handler we run leaves a pipe that was full with less."""
    view = memoryview(data)
    while view:
        view = view[pipe.write(view) :]


def _stdin(process: subprocess.Popen[bytes]) -> IO[bytes]:
    return cast(IO[bytes], process.stdin)


def _stdout(process: subprocess.Popen[bytes]) -> IO[bytes]:
    return cast(IO[bytes], process.stdout)
