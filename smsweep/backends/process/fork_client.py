"""The client of the fork server, and the functions that signal jobs and read how they ended."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, cast

from smsweep.backends.local.job_files import DamagedFile
from smsweep.backends.local.job_folder import SECONDARY_BY_STOP, JobFolder, StopOrder, kill_processes
from smsweep.backends.local.opt_ml import failure_reason, tells_of_stop
from smsweep.core.job import JobStatus
from smsweep.errors import BackendUnavailable, JobError

HAS_REAPER = sys.platform.startswith("linux")  # entrypoints end all processes of their jobs: see child_reaper.py
FORK_SERVER = Path(__file__).with_name("fork_server.py")
READ_BYTES = 65_536
START_S = 60.0  # how long the server may fail to start, until the agent gives up
ANSWER_S = 300.0  # longest time of one request. The first one reads the source and the packages of the environment
CLOSE_S = 5.0  # until a server that does not exit is killed
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
        self._ended: set[str] = set()  # folders of jobs that have ended since the last wait
        self._failing_since: float | None = None  # the server has not answered since then

    def ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Send one request and return its answer.

        Raises:
            BackendUnavailable: If the server has exited, or was killed because it did not answer for `ANSWER_S`
                seconds. The next call starts it again.
            JobError: If it has not answered any request for `START_S` seconds.
        """
        try:
            answer = self._ask(order)
        except (BackendUnavailable, OSError) as err:
            raise self._failure(err) from err
        self._failing_since = None
        return answer

    def wait(self, timeout_s: float) -> set[str]:
        """Sleep for `timeout_s` seconds, or until a job has ended.

        Returns:
            The folders of jobs that have ended since the last call.
        """
        process = self._process
        if not self._ended:
            if process is None or process.poll() is not None:
                time.sleep(timeout_s)  # the next request starts the server
            elif select.select([_stdout(process)], [], [], timeout_s)[0]:
                with contextlib.suppress(BackendUnavailable):  # the next request reports that
                    for line in self._lines(process, ANSWER_S):  # without an open request, each line is an event
                        self._ended.add(json.loads(line)["ended"])
        ended, self._ended = self._ended, set()
        return ended

    def close(self) -> None:
        """End the server. Its jobs continue."""
        if self._process is not None:
            _stdin(self._process).close()
            _stdout(self._process).close()
            self._reap(self._process)
            self._process = None
        if self._stderr is not None:
            self._stderr.close()
            self._stderr = None

    def _ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        process = self._running()
        deadline = time.monotonic() + ANSWER_S
        try:
            _write(_stdin(process), json.dumps(order).encode() + b"\n", deadline)
            while True:
                for line in self._lines(process, deadline - time.monotonic()):
                    answer: dict[str, Any] = json.loads(line)
                    if "ended" not in answer:
                        return answer
                    self._ended.add(answer["ended"])
        except BrokenPipeError:
            self._reap(process)
            raise self._exited(process) from None
        except TimeoutError:
            process.kill()
            self.close()
            raise BackendUnavailable(
                f"the fork server did not answer for {ANSWER_S:.0f} s and was killed"
            ) from None

    def _reap(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until the server has exited. Kill it if it hangs."""
        try:
            process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):  # the kernel ends it when its disk answers
                process.wait(CLOSE_S)

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
                env={"OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES"},  # macOS may abort forks without it
            )
            self._unread = b""
        return self._process

    def _lines(self, process: subprocess.Popen[bytes], timeout_s: float) -> Iterator[bytes]:
        """Wait for some output and yield its whole lines.

        Raises:
            BackendUnavailable: If the server has exited.
            TimeoutError: If there is no output.
        """
        if not select.select([_stdout(process)], [], [], max(0.0, timeout_s))[0]:
            raise TimeoutError
        data = _stdout(process).read(READ_BYTES)
        if not data:
            self._reap(process)
            raise self._exited(process)
        *lines, self._unread = (self._unread + data).split(b"\n")
        yield from lines

    def _exited(self, process: subprocess.Popen[bytes]) -> BackendUnavailable:
        code = process.returncode or 0
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


def _write(pipe: IO[bytes], data: bytes, deadline: float) -> None:
    """Write all of the data. Raises TimeoutError if the reader does not read it until the deadline."""
    view = memoryview(data)
    while view:
        if not select.select([], [pipe], [], max(0.0, deadline - time.monotonic()))[1]:
            raise TimeoutError
        view = view[pipe.write(view[: select.PIPE_BUF]) :]  # a pipe that is ready accepts so many bytes at once


def _stdin(process: subprocess.Popen[bytes]) -> IO[bytes]:
    return cast(IO[bytes], process.stdin)


def _stdout(process: subprocess.Popen[bytes]) -> IO[bytes]:
    return cast(IO[bytes], process.stdout)


def ended_status(folder: JobFolder, order: StopOrder | None, started_at: datetime) -> JobStatus:
    """Return the final status of a job whose entrypoint has exited. If it was killed, kill its processes.

    Args:
        folder: The job's folder.
        order: The order to stop it, if there was one.
        started_at: The job's start.

    Raises:
        DamagedFile: If the folder is damaged.
    """
    exit_code, ended_at = folder.exit_code(), None
    reason = failure_reason(folder.ml())
    is_lost = exit_code is None
    if exit_code is None:
        kill_processes(folder)
        reason = reason or "the job's entrypoint was killed, or the machine went down"
    else:
        ended_at = _ended_at(folder, started_at)
        if not HAS_REAPER:
            kill_processes(folder)
    if order is not None:
        status, secondary = "Stopped", SECONDARY_BY_STOP[order.by]
    elif tells_of_stop(reason):  # the machine shuts down, or SLURM preempts the agent's job
        status, secondary = "Failed", "Failed"
        reason, is_lost = f"stopped outside smsweep; {reason}", True
    elif exit_code == 0:
        status, secondary = "Completed", "Completed"
    else:
        status, secondary = "Failed", "Failed"
    return JobStatus(
        name=folder.name,
        status=status,
        secondary_status=secondary,
        failure_reason=reason if status == "Failed" else "",
        exit_code=exit_code,
        is_lost=is_lost,
        started_at=started_at,
        ended_at=ended_at,
    )


def signal_job(folder: JobFolder, number: signal.Signals) -> None:
    """Send a signal to a job's entrypoint. If the entrypoint has exited, do nothing.

    Raises:
        DamagedFile: If the `pid` file is missing, or names another process.
    """
    pid = folder.pid()
    if _is_other_process(pid):
        raise DamagedFile(folder.path / "pid", "not the number of the job's process")
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _ended_at(folder: JobFolder, started_at: datetime) -> datetime:
    """Return when a job ended. A change of the machine's clock does not affect the duration."""
    uptimes_s = folder.uptimes_s()
    if len(uptimes_s) == 2:
        return started_at + timedelta(seconds=max(0.0, uptimes_s[1] - uptimes_s[0]))
    return max(started_at, folder.exited_at() or started_at)


def _is_other_process(pid: int) -> bool:
    """Return True if a live process cannot be an entrypoint, which leads a session and is a fork of the server."""
    import psutil  # slow to import, and needed only to signal a job

    try:
        if os.getsid(pid) != pid:
            return True
        command = psutil.Process(pid).cmdline()
    except OverflowError:  # no process has such a number
        return True
    except (psutil.Error, OSError):  # the process has exited, or belongs to another user
        return False
    return bool(command) and FORK_SERVER.name not in "\0".join(command)
