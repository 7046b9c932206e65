"""A process that stays when its terminal closes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from smsweep.errors import SmsweepError

LOOK_S = 0.05
TAIL_BYTES = 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Daemon:
    """A process that was left behind."""

    pid: int
    log: Path  # what it says


def leave_behind(
    argv: Sequence[str], folder: Path, environ: Mapping[str, str], is_up: Callable[[], bool], patience_s: float
) -> Daemon:
    """Start a process in a session of its own, and return once it is up, has ended well, or patience is over.

    folder: of its log. Raises SmsweepError, with the log's end, when it fails in that time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log, out = _new_log(folder)
    with out:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=dict(environ), start_new_session=True
        )
    deadline = time.monotonic() + patience_s
    while process.poll() is None and time.monotonic() < deadline and not is_up():
        time.sleep(LOOK_S)
    if process.returncode:
        said = log.read_bytes()[-TAIL_BYTES:].decode(errors="replace").strip()
        raise SmsweepError(f"the agent ended at once, with exit code {process.returncode}; {log}:\n{said}")
    process.returncode = 0  # it goes on without us, and Popen need not warn
    return Daemon(pid=process.pid, log=log)


def _new_log(folder: Path) -> tuple[Path, BinaryIO]:
    number = 0
    while True:
        log = folder / f"{number}.log"
        try:
            return log, log.open("xb")
        except FileExistsError:
            number += 1
