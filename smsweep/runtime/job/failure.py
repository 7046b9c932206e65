"""Why a job failed, in the words of `output/failure`: at most 1,024 characters, the most telling ones first."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import stat

from smsweep.runtime.job.masking import Masker
from smsweep.runtime.plain_files import write_whole
from smsweep.runtime.script.messages import TALK
from smsweep.runtime.script.records import MARK, MARKUP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from smsweep.runtime.job.supervisor import Ended

MAX_CHARS = 1_024  # SageMaker's FailureReason
MAX_OWN_BYTES = 64 * 1024
RESERVE = ".reserve"  # beside the failure: room for it on a disk that the script fills
RESERVE_BYTES = 16 * 1024
_RANK = re.compile(r"^\[rank\d+\]: ?", re.MULTILINE)  # as torch marks the lines of a traceback
_TRACEBACK = "Traceback (most recent call last):"
_GROUP_FRAME = re.compile(r"^ +\| ")  # at the left of an exception group
_EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(?::|$)")  # `ValueError: ...`, `torch.cuda.OutOfMemoryError: ...`


class JobFailure(Exception):
    """The job cannot go on, and not because of the script; the text is for `output/failure`."""

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def describe(ended: Ended, *, grace_s: float) -> str:
    """Say why a script that did not end well ended: the exception or the verdict, then the end of its output."""
    lines = _lines(ended.tail)
    start = _traceback_start(lines)
    if ended.signal_number or ended.stopped_by or ended.exit_code == 137:
        return _fitted(_verdict(ended, grace_s), lines)
    if start is None:
        # Often why: sys.exit("no data") and argparse print it last. As often not, so it is only quoted.
        own = [line for line in lines if not line.startswith(TALK)]
        said = f"; last line: {own.pop()}" if own else ""
        return _fitted(f"exit code {ended.exit_code}{said}", own)
    exception, after = _exception(lines, start)
    return _fitted(f"{exception} (exit code {ended.exit_code})", lines[start:after])


def own_words(path: str, secrets: Iterable[str]) -> str:
    """Return what the script itself has left as the reason, secrets masked; "" when it has left none."""
    try:
        # Whatever it has put there: a pipe would never end.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            is_file = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            said = file.read(MAX_OWN_BYTES) if is_file else b""
    except OSError:
        return ""
    masker = Masker(secrets)
    return (masker.mask(said) + masker.rest()).decode("utf-8", "replace").strip()


def reserve(path: str) -> None:
    """Keep room for the failure reason that may be written to path."""
    with contextlib.suppress(OSError), open(_reserve(path), "wb") as file:
        file.write(bytes(RESERVE_BYTES))


def release(path: str) -> None:
    with contextlib.suppress(OSError):
        os.remove(_reserve(path))


def write(path: str, text: str) -> None:
    """Leave the text as the job's failure reason, if that can be done at all: the exit code matters more."""
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
        return "killed at once, as asked for by SIGQUIT"
    if ended.stopped_by:
        how = f"by {_name(ended.signal_number)}" if ended.signal_number else f"with exit code {ended.exit_code}"
        return f"stopped: was sent {_name(ended.stopped_by)}, ended {how}"
    if ended.signal_number == signal.SIGKILL or ended.exit_code == 137:
        return f"exit code {ended.exit_code}: killed by SIGKILL from outside; most often memory had run out"
    return f"exit code {ended.exit_code}: died of signal {ended.signal_number} ({_name(ended.signal_number)})"


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _lines(tail: bytes) -> list[str]:
    """Decode the end of the output into what a terminal would show: no colours, last state of a progress bar."""
    text = _RANK.sub("", MARKUP.sub("", tail.decode("utf-8", "replace")))
    shown = (line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n"))
    return [line for line in shown if line and MARK not in line]


def _traceback_start(lines: list[str]) -> int | None:
    inside = None  # an exception group's frame, whose own beginning may be cut off
    for at in range(len(lines) - 1, -1, -1):
        if lines[at].endswith(_TRACEBACK):
            if not lines[at].lstrip().startswith("|"):
                return at
            inside = at
    return inside


def _exception(lines: list[str], start: int) -> tuple[str, int]:
    """Return what names the exception and where the traceback ends; of a group it ends with its last member."""
    for at in range(start + 1, len(lines)):
        in_frame = _GROUP_FRAME.match(lines[at])
        text = lines[at][in_frame.end() :] if in_frame else lines[at]
        if not text.startswith(" ") and _EXCEPTION.match(text):
            return text, len(lines) if in_frame else at
    return lines[-1], len(lines)


def _fitted(first: str, lines: list[str]) -> str:
    """Put as many of the last lines as fit under the first."""
    first = first[: MAX_CHARS * 3 // 4]
    room = MAX_CHARS - len(first)
    kept: list[str] = []
    for line in reversed(lines):
        if len(line) + 1 > room:
            break
        room -= len(line) + 1
        kept.append(line)
    return "\n".join([first, *reversed(kept)])
