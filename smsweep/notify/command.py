"""Run a command with an event on its standard input."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

LONGEST_S = 60.0
MAX_LINE = 200  # characters of the last line of its output


def run(argv: Sequence[str], body: bytes, environ: Mapping[str, str]) -> str:
    """Run a command with an event on its standard input. Never raises. It is killed after LONGEST_S seconds.

    No shell is involved. The command has its own process group, so that Ctrl-C in the terminal does not reach it.

    Returns:
        Why the command failed; "" if it exited with code 0.
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
        return f"{name}: cannot start: {getattr(err, 'strerror', None) or err}"
    try:
        output, _ = process.communicate(body, timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        _kill(process)
        return f"{name}: ran longer than {LONGEST_S:.0f} s and was killed"
    if not process.returncode:
        return ""
    last = (output.decode(errors="replace").strip().splitlines() or [""])[-1][:MAX_LINE]
    return f"{name}: exit code {process.returncode}{f': {last}' if last else ''}"


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=1)
