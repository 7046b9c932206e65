"""Background processes that continue after the terminal closes."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from smsweep.errors import NotFound, SmsweepError, UsageError
from smsweep.util.atomic_file import write_text
from smsweep.util.clock import utc_now

POLL_S = 0.05
TAIL_BYTES = 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Daemon:
    """A background process."""

    pid: int
    log: Path  # file with its output
    arguments: tuple[str, ...] = ()
    started_at: str = ""  # ISO 8601

    @property
    def number(self) -> int:
        """The number of the process among those of its folder."""
        return int(self.log.stem)

    @property
    def is_running(self) -> bool:
        """True while the process runs. It holds a lock on its log, which the system releases when it ends."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(
                self.pid, os.WNOHANG
            )  # a child of this process does not end before its parent reads its end
        try:
            with self.log.open("rb") as log:
                fcntl.flock(log, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def tail(self, n_bytes: int) -> str:
        """Return the end of the log, in whole lines; "" without a log."""
        try:
            with self.log.open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                log.seek(max(0, size - n_bytes))
                data = log.read()
        except OSError:
            return ""
        whole = data if size <= n_bytes else data.partition(b"\n")[2]
        return whole.decode(errors="replace")

    def stop(self, *, at_once: bool) -> None:
        """Signal the process: SIGINT lets running trials end, SIGTERM stops them and returns them to the queue.

        Raises:
            UsageError: If the process has ended.
        """
        if not self.is_running:
            raise UsageError(f"agent {self.pid} has ended; nothing to stop")
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM if at_once else signal.SIGINT)


def daemons(folder: Path) -> list[Daemon]:
    """Return the processes that were started with their logs in a folder, newest first."""
    processes = []
    for record in folder.glob("*.json"):
        try:
            data = json.loads(record.read_text(encoding="utf-8"))
            processes.append(
                Daemon(
                    pid=int(data["pid"]),
                    log=record.with_suffix(".log"),
                    arguments=tuple(map(str, data["arguments"])),
                    started_at=str(data["started_at"]),
                )
            )
        except (OSError, ValueError, KeyError, TypeError):
            continue  # damaged, or removed just now
    return sorted(processes, key=lambda daemon: -daemon.number)


def find_daemon(folder: Path, number: int) -> Daemon:
    """Return the process with a number. Raises NotFound."""
    for daemon in daemons(folder):
        if daemon.number == number:
            return daemon
    raise NotFound(f"{folder}: has no agent {number}; reload the page")


def start_daemon(
    argv: Sequence[str],
    folder: Path,
    environ: Mapping[str, str],
    is_up: Callable[[], bool],
    patience_s: float,
    arguments: Sequence[str] = (),
) -> Daemon:
    """Start a background process in a new session.

    Return once the process is ready, has exited with code 0, or the timeout is over.

    Args:
        argv: Command and arguments.
        folder: Folder for the log.
        environ: Environment variables.
        is_up: Returns True once the process is ready.
        patience_s: Timeout in seconds.
        arguments: The part of `argv` that `daemons` returns.

    Raises:
        SmsweepError: If the process fails before the timeout. The message has the end of the log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log, out = _new_log(folder)
    with out:
        fcntl.flock(out, fcntl.LOCK_EX)  # the process inherits the lock with its output
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=dict(environ), start_new_session=True
        )
    started_at = utc_now().isoformat()
    daemon = Daemon(pid=process.pid, log=log, arguments=tuple(arguments), started_at=started_at)
    record = {"pid": daemon.pid, "arguments": list(arguments), "started_at": started_at}
    write_text(log.with_suffix(".json"), json.dumps(record))
    deadline = time.monotonic() + patience_s
    while process.poll() is None and time.monotonic() < deadline and not is_up():
        time.sleep(POLL_S)
    if process.returncode:
        output = log.read_bytes()[-TAIL_BYTES:].decode(errors="replace").strip()
        raise SmsweepError(f"the agent exited at once with code {process.returncode}; {log}:\n{output}")
    process.returncode = 0  # prevents the warning of Popen about a running process
    return daemon


def _new_log(folder: Path) -> tuple[Path, BinaryIO]:
    number = 0
    while True:
        log = folder / f"{number}.log"
        try:
            return log, log.open("xb")
        except FileExistsError:
            number += 1
