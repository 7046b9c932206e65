"""Background processes that continue after the terminal closes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from smsweep.errors import SmsweepError

POLL_S = 0.05
TAIL_BYTES = 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Daemon:
    """A background process."""

    pid: int
    log: Path  # file with its output


def start_daemon(
    argv: Sequence[str], folder: Path, environ: Mapping[str, str], is_up: Callable[[], bool], patience_s: float
) -> Daemon:
    """Start a background process in a new session.

    Return once the process is ready, has exited with code 0, or the timeout is over.

    Args:
        argv: Command and arguments.
        folder: Folder for the log.
        environ: Environment variables.
        is_up: Returns True once the process is ready.
        patience_s: Timeout in seconds.

    Raises:
        SmsweepError: If the process fails before the timeout. The message has the end of the log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log, out = _new_log(folder)
    with out:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=dict(environ), start_new_session=True
        )
    deadline = time.monotonic() + patience_s
    while process.poll() is None and time.monotonic() < deadline and not is_up():
        time.sleep(POLL_S)
    if process.returncode:
        output = log.read_bytes()[-TAIL_BYTES:].decode(errors="replace").strip()
        raise SmsweepError(f"the agent exited at once with code {process.returncode}; {log}:\n{output}")
    process.returncode = 0  # prevents the warning of Popen about a running process
    return Daemon(pid=process.pid, log=log)


def _new_log(folder: Path) -> tuple[Path, BinaryIO]:
    number = 0
    while True:
        log = folder / f"{number}.log"
        try:
            return log, log.open("xb")
        except FileExistsError:
            number += 1
