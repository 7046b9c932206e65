"""Run a command with an event on its standard input."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

LONGEST_S = 60.0
MAX_SAID = 200  # characters of its last line


def run(argv: Sequence[str], body: bytes, environ: Mapping[str, str]) -> str:
    """Return why the command failed; "" when it ended well. Never raises, and nothing of it outlives LONGEST_S.

    No shell takes part. It is in a process group of its own, out of reach of the terminal's Ctrl-C.
    """
    name = Path(argv[0]).name
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environ),
            start_new_session=True,
        )
    except (OSError, ValueError) as err:
        return f"{name}: cannot be started: {getattr(err, 'strerror', None) or err}"
    try:
        said, _ = process.communicate(body, timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        _kill(process)
        return f"{name}: took longer than {LONGEST_S:.0f} s and was killed"
    if not process.returncode:
        return ""
    last = (said.decode(errors="replace").strip().splitlines() or [""])[-1][:MAX_SAID]
    return f"{name}: exit code {process.returncode}{f': {last}' if last else ''}"


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=1)
