"""The agent's side of the pipes to the fork server."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, cast

from smsweep.errors import BackendUnavailable, JobError

FORK_SERVER = Path(__file__).with_name("fork_server.py")
READ_BYTES = 65_536
START_S = 60.0  # how long the server may fail to start, until the agent gives up
# The machine is short of something; the agent waits for it without a limit.
SHORTAGES = (errno.EAGAIN, errno.ENOMEM, errno.ENOSPC, errno.EMFILE, errno.ENFILE)
ERROR_BYTES = 4_096  # of the server's last output


class ForkClient:
    """Starts the fork server with the first request, and again if it has exited.

    Args:
        runtime_zip: The program of the jobs, which the server imports.
        monotonic: The time in seconds, for the limit `START_S`.
        python: The interpreter of the server.
    """

    def __init__(
        self,
        runtime_zip: Path,
        monotonic: Callable[[], float] = time.monotonic,
        python: str = sys.executable,
    ) -> None:
        self._runtime_zip = runtime_zip
        self._monotonic = monotonic
        self._python = python
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: IO[bytes] | None = None  # of the process
        self._unread = b""  # of its stdout: less than a line
        self._has_news = False  # a job has ended since the last wait
        self._failing_since: float | None = None  # the server has not answered since then

    def ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Send one request and return its answer.

        Raises:
            BackendUnavailable: If the server has exited. The next call starts it again.
            JobError: If it has not answered any request for `START_S` seconds.
        """
        try:
            answer = self._ask(order)
        except (BackendUnavailable, OSError) as err:
            raise self._failure(err) from err
        self._failing_since = None
        return answer

    def wait(self, timeout_s: float) -> None:
        """Sleep for `timeout_s` seconds, or until a job has ended."""
        process = self._process
        if not self._has_news:
            if process is None or process.poll() is not None:
                time.sleep(timeout_s)  # the next request starts the server
            elif select.select([_stdout(process)], [], [], timeout_s)[0]:
                with contextlib.suppress(BackendUnavailable):  # the next request reports that
                    list(self._lines(process))  # without an open request, each line is news
        self._has_news = False

    def close(self) -> None:
        """End the server. Its jobs continue."""
        if self._process is not None:
            self._process.communicate()
            self._process = None
        if self._stderr is not None:
            self._stderr.close()
            self._stderr = None

    def _ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        process = self._running()
        try:
            _write(_stdin(process), json.dumps(order).encode() + b"\n")
        except BrokenPipeError:
            process.wait()
            raise self._exited(process) from None
        while True:
            for line in self._lines(process):
                answer: dict[str, Any] = json.loads(line)
                if "ended" not in answer:
                    return answer
                self._has_news = True

    def _failure(self, err: Exception) -> JobError:
        """Return the error to raise for a request without an answer."""
        if isinstance(err, OSError) and err.errno in SHORTAGES:
            return BackendUnavailable(f"the fork server cannot start: {err}")
        now = self._monotonic()
        if self._failing_since is None:
            self._failing_since = now
        problem = f"the fork server cannot start: {err}" if isinstance(err, OSError) else str(err)
        if now - self._failing_since < START_S:
            return BackendUnavailable(problem)
        return JobError(
            f"--backend process: {problem}; no attempt succeeded for {START_S:.0f} s. Check that {self._python} "
            f"and {self._runtime_zip} can be read, then start the agent again"
        )

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self.close()
        if self._process is None:
            argv = [self._python, "-I", "-S", str(FORK_SERVER), str(self._runtime_zip)]
            self._stderr = self._stderr or TemporaryFile()  # noqa: SIM115 - `close` closes it
            # In its own session, so that Ctrl-C in the terminal reaches the agent and not the jobs.
            self._process = subprocess.Popen(
                argv,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                start_new_session=True,
                env={},
            )
            self._unread = b""
        return self._process

    def _lines(self, process: subprocess.Popen[bytes]) -> Iterator[bytes]:
        """Wait for some output and yield its whole lines. Raises BackendUnavailable if the server has exited."""
        data = _stdout(process).read(READ_BYTES)
        if not data:
            process.wait()
            raise self._exited(process)
        *lines, self._unread = (self._unread + data).split(b"\n")
        yield from lines

    def _exited(self, process: subprocess.Popen[bytes]) -> BackendUnavailable:
        code = process.returncode
        how = f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"
        error = self._last_error()
        return BackendUnavailable(f"the fork server {how}{f': {error}' if error else ''}")

    def _last_error(self) -> str:
        """Return the last line that the server has written to stderr."""
        if self._stderr is None:
            return ""
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - ERROR_BYTES))
        lines = self._stderr.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _write(pipe: IO[bytes], data: bytes) -> None:
    """Write all of the data. A signal handler can interrupt a write to a full pipe."""
    view = memoryview(data)
    while view:
        view = view[pipe.write(view) :]


def _stdin(process: subprocess.Popen[bytes]) -> IO[bytes]:
    return cast(IO[bytes], process.stdin)


def _stdout(process: subprocess.Popen[bytes]) -> IO[bytes]:
    return cast(IO[bytes], process.stdout)
