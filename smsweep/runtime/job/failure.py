"""Write the reason of a failure to `output/failure`: at most 1,024 characters, the most important line first."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import stat

from smsweep.runtime.job.output_pump import Masker
from smsweep.runtime.script.records import MARK, MESSAGE_PREFIX
from smsweep.runtime.system import write_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from smsweep.runtime.job.supervisor import Ended

MAX_CHARS = 1_024  # SageMaker's FailureReason
MAX_REASON_BYTES = 64 * 1024  # of a reason that the script wrote
RESERVE = (
    ".reserve"  # a file next to the failure reason that reserves space for it on a disk that the script fills
)
RESERVE_BYTES = 16 * 1024
MARKUP = re.compile(  # ANSI escape sequences for colors and titles; never part of a message
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])"
)
_RANK = re.compile(r"^\[rank\d+\]: ?", re.MULTILINE)  # torch's prefix of the lines of a traceback
_TRACEBACK = "Traceback (most recent call last):"
_GROUP_FRAME = re.compile(r"^ +\| ")  # left margin of an exception group
_EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(?::|$)")  # `ValueError: ...`, `torch.cuda.OutOfMemoryError: ...`


class JobFailure(Exception):
    """The job cannot continue, for a reason outside the script. The message is for `output/failure`."""

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def describe(ended: Ended, *, grace_s: float) -> str:
    """Return why a script failed: the exception, or the exit code or signal, then the end of its output."""
    lines = _lines(ended.tail)
    start = _traceback_start(lines)
    if ended.signal_number or ended.stopped_by or ended.exit_code == 137:
        return _fitted(_verdict(ended, grace_s), lines)
    if start is None:
        # The last line often has the reason (sys.exit("no data"), argparse), but not always, so it is only quoted.
        own = [line for line in lines if not line.startswith(MESSAGE_PREFIX)]
        last_line = f"; last line: {own.pop()}" if own else ""
        return _fitted(f"exit code {ended.exit_code}{last_line}", own)
    exception, after = _exception(lines, start)
    return _fitted(f"{exception} (exit code {ended.exit_code})", lines[start:after])


def read_reason(path: str, secrets: Iterable[str]) -> str:
    """Return the reason that the script itself wrote, with secrets masked; "" if it wrote none."""
    try:
        # Non-blocking: the script may have put a pipe in its place.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            is_file = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            content = file.read(MAX_REASON_BYTES) if is_file else b""
    except OSError:
        return ""
    masker = Masker(secrets)
    return (masker.mask(content) + masker.rest()).decode("utf-8", "replace").strip()


def reserve(path: str) -> None:
    """Reserve space on the disk for the failure reason at `path`."""
    with contextlib.suppress(OSError), open(_reserve(path), "wb") as file:
        file.write(bytes(RESERVE_BYTES))


def release(path: str) -> None:
    """Free the space that `reserve` took."""
    with contextlib.suppress(OSError):
        os.remove(_reserve(path))


def write(path: str, text: str) -> None:
    """Write the job's failure reason. A failure to write it is only logged: the exit code matters more."""
    release(path)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_whole(path, text[:MAX_CHARS])
    except OSError as err:
        os.write(2, f"smsweep: cannot write {path}: {err}\n".encode())


def _reserve(path: str) -> str:
    return os.path.join(os.path.dirname(path), RESERVE)


def _verdict(ended: Ended, grace_s: float) -> str:
    if ended.was_killed:
        return f"killed: still running {grace_s:g} s after {_name(ended.stopped_by)}"
    if ended.stopped_by == signal.SIGQUIT:
        return "killed at once by SIGQUIT"
    if ended.stopped_by:
        how = f"by {_name(ended.signal_number)}" if ended.signal_number else f"with exit code {ended.exit_code}"
        return f"stopped: was sent {_name(ended.stopped_by)}, ended {how}"
    if ended.signal_number == signal.SIGKILL or ended.exit_code == 137:
        return f"exit code {ended.exit_code}: killed by SIGKILL from outside; the usual cause is too little memory"
    return f"exit code {ended.exit_code}: killed by signal {ended.signal_number} ({_name(ended.signal_number)})"


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _lines(tail: bytes) -> list[str]:
    """Return the lines that a terminal would show: no colors, only the last state of a progress bar."""
    text = _RANK.sub("", MARKUP.sub("", tail.decode("utf-8", "replace")))
    visible = (line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n"))
    return [line for line in visible if line and MARK not in line]


def _traceback_start(lines: list[str]) -> int | None:
    inside = None  # the frame of an exception group, whose own first line may be cut off
    for at in range(len(lines) - 1, -1, -1):
        if lines[at].endswith(_TRACEBACK):
            if not lines[at].lstrip().startswith("|"):
                return at
            inside = at
    return inside


def _exception(lines: list[str], start: int) -> tuple[str, int]:
    """Return the line that names the exception, and the end of the traceback (of a group: its last member's)."""
    for at in range(start + 1, len(lines)):
        in_frame = _GROUP_FRAME.match(lines[at])
        text = lines[at][in_frame.end() :] if in_frame else lines[at]
        if not text.startswith(" ") and _EXCEPTION.match(text):
            return text, len(lines) if in_frame else at
    return lines[-1], len(lines)


def _fitted(first: str, lines: list[str]) -> str:
    """Append as many of the last lines to the first line as fit."""
    first = first[: MAX_CHARS * 3 // 4]
    room = MAX_CHARS - len(first)
    kept: list[str] = []
    for line in reversed(lines):
        if len(line) + 1 > room:
            break
        room -= len(line) + 1
        kept.append(line)
    return "\n".join([first, *reversed(kept)])
