"""The format of a script's metrics on stdout: records that a reader can find anywhere in a line.

    @smsweep {"step": 3, "time": 1735689600.25, "metrics": {"loss": 0.5, "val.acc": 0.9}}
    @smsweep {"time": 1735689600.5, "summary": {"best": 0.91}}

A record is printable ASCII and ends its line. It is short enough for one atomic write to a pipe, so that a partly
printed progress bar or another process cannot interrupt it. A larger dict becomes several records of one step. The
format is JSON with NaN and Infinity.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from _collections_abc import Mapping  # as collections.abc, but does not import collections

try:
    from _json import encode_basestring_ascii as _quote  # as json.dumps, but imports neither json nor re
except ImportError:  # not CPython
    from json import dumps as _quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Union

    Value = Union[float, int, bool, str, None]

MARK = "@smsweep "
MAX_RECORD_BYTES = 4_096  # PIPE_BUF on Linux: a write up to this size is never split; includes the line end
MAX_NAME_BYTES = 512  # as JSON
MAX_TEXT_BYTES = 2_048  # as JSON
METRICS = "metrics"
SUMMARY = "summary"
END = "end"
MESSAGE_PREFIX = "smsweep: "
# Added to the error for a name that W&B has and smsweep does not have.
KEEP_WANDB = (
    "a script that needs more of W&B than config, metrics and summary keeps `import wandb`: "
    "metrics that it logs to W&B reach the sweep as well"
)
MAX_INT = 2**63  # databases store no larger integers; such numbers become floats
# Names in a trial's summary for what its job reports about W&B.
RUN = "wandb.run"  # the run's id, if W&B's server chose it
PARAMS = "wandb.params."  # prefix of each param that the server chose
IDLE = "wandb.idle"  # true if the server had no run for the agent
STOPPED = "wandb.stopped"  # true if the server ordered the run to stop
URL = "wandb.url"  # page of the run
WANDB_AGENT = "smsweep.runtime.wandb.agent_run"  # in the command of a trial whose params W&B's server chooses
_OF_RUN_IDS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_AS_JSON = {  # repr -> JSON
    "None": "null",
    "True": "true",
    "False": "false",
    "nan": "NaN",
    "inf": "Infinity",
    "-inf": "-Infinity",
}


def end_record(exit_code: int) -> str:
    """Return the last line of a job's log, with its line end."""
    return f'{MARK}{{"{END}": {exit_code}}}\n'


def records(kind: str, values: Mapping[str, Value], *, time: float, step: int | None = None) -> Iterator[str]:
    """Yield the lines that carry the values, without line ends. Yields nothing for no values.

    Args:
        kind: METRICS or SUMMARY.
        values: Values by name.
        time: Seconds since the epoch.
        step: Step of the values, or None.
    """
    head = MARK + "{" + ("" if step is None else f'"step": {step}, ') + f'"time": {time:.6f}, "{kind}": ' + "{"
    room = MAX_RECORD_BYTES - len(head) - len("}}\n")
    items: list[str] = []
    size = 0
    for name, value in values.items():
        item = f"{_quoted(name, MAX_NAME_BYTES)}: {_encoded(value)}"
        if items and size + len(item) > room:
            yield head + ", ".join(items) + "}}"
            items, size = [], 0
        items.append(item)
        size += len(item) + len(", ")
    if items:
        yield head + ", ".join(items) + "}}"


class JobOutput:
    """Writes records to the job's stdout, even while the script has redirected or closed its own stdout.

    Scripts redirect stdout to silence a library, and callbacks of that library may log.
    """

    def __init__(self) -> None:
        self._kept: int | None = None
        self._identity = _pipe(1)
        try:
            if self._identity:
                self._kept = os.dup(1)  # child programs do not inherit the copy
        except OSError:
            pass  # no free descriptor

    def write(self, record: str) -> None:
        """Write one record. Raises OSError if stdout has no reader."""
        # Another pipe has another reader, which gets the records. The copy may be closed and its number reused.
        kept = self._kept
        if kept is not None and not _pipe(1) and _pipe(kept) == self._identity:
            write_line(record, kept)
        else:
            write_line(record)


def _pipe(fd: int) -> tuple[int, int] | None:
    """Return the identity of a pipe; None if the descriptor is not a pipe."""
    try:
        status = os.fstat(fd)
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISFIFO(status.st_mode) else None


def write_line(line: str, fd: int = 1) -> None:
    """Write a record and its line end in one call. Raises OSError if stdout has no reader."""
    data = (line + "\n").encode("ascii")
    while data:
        try:
            data = data[os.write(fd, data) :]
        except OSError as err:
            if err.errno != errno.EAGAIN:
                raise
            import select  # slow, and rarely needed

            select.select([], [fd], [], 1.0)  # another process made stdout non-blocking, and it is full


def _encoded(value: Value) -> str:
    if isinstance(value, str):
        return _quoted(value, MAX_TEXT_BYTES)
    text = repr(value)
    return _AS_JSON.get(text, text)


def _quoted(text: str, max_bytes: int) -> str:
    """Return text as JSON, truncated to max_bytes."""
    text = text[:max_bytes]
    while len(_quote(text)) > max_bytes:
        text = text[: len(text) * 3 // 4]
    return _quote(text)


def warn(text: str) -> None:
    """Write a message to stderr."""
    try:
        sys.stderr.write(f"{MESSAGE_PREFIX}{text}\n")
    except (OSError, ValueError, AttributeError):
        return  # stderr is closed or missing


def flatten(data: Mapping[object, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield names and values. Nested dicts become "a.b"."""
    for key, value in data.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from flatten(value, name + ".")
        else:
            yield name, value


def plain(value: object) -> Value:
    """Return a scalar as a plain value: the item of a numpy or torch scalar, the value of an Enum.

    Raises:
        TypeError: If the value is not a scalar. The value itself may raise other exceptions.
    """
    if value is None or value is True or value is False:
        return value
    if type(value) in (float, str):
        return value  # type: ignore[return-value]  # mypy does not follow type()
    if isinstance(value, str) and not _is_enum(value):
        return str(value)
    if _is_enum(value):
        return plain(value.value)  # type: ignore[attr-defined]  # enums have it
    if isinstance(value, int):
        return int(value) if abs(value) < MAX_INT else float(value)
    if isinstance(value, float):
        return float(value)
    item = getattr(value, "item", None)
    if callable(item):
        inner = item()
        if isinstance(inner, (bool, int, float, str)):
            return plain(inner)
    elif hasattr(value, "__float__"):  # Decimal, Fraction
        return float(value)
    raise TypeError(f"not a number, string, bool or None: {type(value).__name__}")


def _is_enum(value: object) -> bool:
    return hasattr(type(value), "__members__")


def run_id(sweep_id: str, number: int) -> str:
    """Return the run id of a trial, the same for every attempt: only [a-z0-9-]; "" outside a sweep."""
    if not sweep_id:
        return ""
    text = f"{sweep_id}-{number}".lower()
    if _OF_RUN_IDS.issuperset(text):
        return text
    import re  # slow, and rarely needed

    return re.sub(r"[^a-z0-9-]+", "-", text)
