"""Read the logs of all running jobs with shared calls of FilterLogEvents."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from smsweep.aws.client import Aws
from smsweep.aws.errors import code_of
from smsweep.backends.sagemaker.job_poller import common_prefix
from smsweep.backends.sagemaker.rate_limit import RateLimits
from smsweep.backends.sagemaker.status import LOG_GROUP
from smsweep.core.job import LogPage
from smsweep.errors import Throttled
from smsweep.runtime.script.records import END, MARK

OVERLAP_MS = 10_000  # a shared scan starts that much before the newest line, because some streams are late
PAGES_A_POLL = 4  # of 10,000 events or 1 MB each
PAGE_BYTES = 1 << 20  # of one result of read()

Position = tuple[int, int]  # milliseconds since the epoch; n-th event of the stream with that time, from 1
Cursor = Mapping[str, Position]  # stream without the job's name -> position


@dataclass(slots=True)
class _Scan:
    """A scan of some streams from a point in time, page by page."""

    prefix: str
    start_ms: int
    token: str = ""
    counted: dict[str, Position] = field(default_factory=dict)  # by stream: the last event of this scan


@dataclass(slots=True)
class _Tail:
    """The fetched part of a job's log."""

    fetched: Cursor  # positions of the newest fetched event of each stream
    returned: Cursor  # positions of the last events that read() has returned
    cursor: str  # `returned` as text
    events: deque[tuple[str, Position, str]] = field(default_factory=deque)  # fetched, but not yet returned
    own_scan: _Scan | None = None  # reads older lines, or the end of the log
    scan_at: float = float("-inf")  # monotonic: the next scan of an ended job's log
    is_drained: bool = False  # all lines were fetched
    n_ends: int = 0  # end marks in the log: one per host and run


class LogReader:
    """Reads the logs of one client's jobs.

    Args:
        aws: Calls AWS.
        rates: Limits the calls.
        poll_s: The seconds between two scans.
        lag_s: The longest delay of an ended job's last lines.
        monotonic: The time in seconds.
    """

    def __init__(
        self, aws: Aws, rates: RateLimits, poll_s: float, lag_s: float, monotonic: Callable[[], float]
    ) -> None:
        self._aws = aws
        self._rates = rates
        self._poll_s = poll_s
        self._lag_s = lag_s
        self._monotonic = monotonic
        self._tails: dict[str, _Tail] = {}
        self._ended_at: dict[str, float] = {}  # by job: monotonic time when its end was seen
        self._n_ends: dict[str, int] = {}  # by job: the expected number of end marks
        self._shared: _Scan | None = None
        self._newest_ms = 0  # of all events seen
        self._polled_at = float("-inf")

    def follow(self, name: str, *, started_ms: int) -> None:
        """Follow a new job. started_ms: the time of AWS's clock, in milliseconds since the epoch."""
        self._tails.setdefault(name, _Tail(fetched={}, returned={}, cursor=""))
        self._newest_ms = self._newest_ms or started_ms

    def note_end(self, name: str, n_ends: int) -> None:
        """Read the rest of an ended job's log. n_ends: the number of entrypoints that were started for the job."""
        self._ended_at.setdefault(name, self._monotonic())
        self._n_ends[name] = n_ends

    def forget(self, name: str) -> None:
        self._tails.pop(name, None)
        self._ended_at.pop(name, None)
        self._n_ends.pop(name, None)

    def poll(self) -> None:
        """Fetch new lines of all running jobs that are followed. Raises JobError."""
        now = self._monotonic()
        running = [name for name in self._tails if name not in self._ended_at]
        if not running or (self._shared is None and now - self._polled_at < self._poll_s):
            return
        self._polled_at = now
        for _ in range(PAGES_A_POLL):
            if self._shared is None:
                prefix = common_prefix(running)
                self._shared = _Scan(prefix=prefix, start_ms=max(0, self._newest_ms - OVERLAP_MS))
            events = self._page(self._shared)
            if events is None:
                return
            self._add_events(self._shared, events)
            if not self._shared.token:
                self._shared = None
                return

    def read(self, name: str, cursor: str) -> LogPage:
        """Return the next lines after cursor. Raises JobError."""
        tail = self._tail(name, cursor)
        if tail.own_scan is None and not tail.is_drained and not tail.events and self._is_drain_due(name, tail):
            tail.own_scan = self._own_scan(name, tail)
        if tail.own_scan is not None and not tail.events:
            self._continue_scan(name, tail, tail.own_scan)
        return self._next_page(tail)

    def _tail(self, name: str, cursor: str) -> _Tail:
        """Return the job's tail at the cursor. If the known tail is at another position, start a new one."""
        tail = self._tails.get(name)
        if tail is None or tail.cursor != cursor:
            position = parse_cursor(cursor)
            tail = self._tails[name] = _Tail(fetched=position, returned=position, cursor=cursor)
            tail.own_scan = self._own_scan(name, tail)
        return tail

    def _own_scan(self, name: str, tail: _Tail) -> _Scan:
        start_ms = min((position[0] for position in tail.fetched.values()), default=0)
        return _Scan(prefix=f"{name}/", start_ms=start_ms)

    def _is_drain_due(self, name: str, tail: _Tail) -> bool:
        """Return True if an ended job's log must be scanned again. If it has all end marks, it is complete."""
        if name not in self._ended_at or self._monotonic() < tail.scan_at:
            return False
        if tail.n_ends >= self._n_ends[name]:
            tail.is_drained = True
            return False
        return True

    def _continue_scan(self, name: str, tail: _Tail, scan: _Scan) -> None:
        events = self._page(scan)
        if events is None:
            return
        self._add_events(scan, events)
        if scan.token:
            return
        tail.own_scan = None
        tail.scan_at = self._monotonic() + self._poll_s
        ended_at = self._ended_at.get(name)
        if ended_at is not None:
            tail.is_drained = tail.n_ends >= self._n_ends[name] or self._monotonic() - ended_at >= self._lag_s

    def _next_page(self, tail: _Tail) -> LogPage:
        lines: list[str] = []
        size = 0
        while tail.events and size < PAGE_BYTES:
            stream, position, message = tail.events.popleft()
            tail.returned = {**tail.returned, stream: position}
            lines.append(message.rstrip("\r\n"))
            size += len(message)
        if lines:
            tail.cursor = write_cursor(tail.returned)
        return LogPage(
            lines=tuple(line for line in lines if not is_end(line)),
            cursor=tail.cursor,
            is_last=tail.is_drained and not tail.events,
            is_behind=tail.own_scan is not None or bool(tail.events),
        )

    def _add_events(self, scan: _Scan, events: Iterable[Mapping[str, Any]]) -> None:
        """Add each new event to the tail of its job. The events of one stream are in order."""
        for event in events:
            name, _, stream = event["logStreamName"].partition("/")
            at_ms = int(event["timestamp"])
            self._newest_ms = max(self._newest_ms, at_ms)
            before_ms, n = scan.counted.get(event["logStreamName"], (0, 0))
            position = scan.counted[event["logStreamName"]] = (at_ms, n + 1 if at_ms == before_ms else 1)
            tail = self._tails.get(name)
            if tail is None or position <= tail.fetched.get(stream, (0, 0)):
                continue
            if tail.own_scan not in (None, scan):  # that scan reads older lines first
                continue
            tail.fetched = {**tail.fetched, stream: position}
            tail.events.append((stream, position, event["message"]))
            tail.n_ends += is_end(event["message"])

    def _page(self, scan: _Scan) -> list[Mapping[str, Any]] | None:
        """Return the scan's next page; None if the rate does not allow the call now."""
        if not self._rates.take("FilterLogEvents"):
            return None
        more = {"nextToken": scan.token} if scan.token else {}
        try:
            answer = self._aws.call(
                "logs",
                "filter_log_events",
                logGroupName=LOG_GROUP,
                logStreamNamePrefix=scan.prefix,
                startTime=scan.start_ms,
                **more,
            )
        except (BotoCoreError, ClientError) as err:
            if isinstance(err, ClientError) and code_of(err) == "ResourceNotFoundException":
                return []  # no job of this account has written a line
            error = self._aws.error(err, "logs", "filter_log_events")
            if isinstance(error, Throttled):
                self._rates.note("FilterLogEvents", was_throttled=True)
                return None
            raise error from err
        self._rates.note("FilterLogEvents", was_throttled=False)
        scan.token = answer.get("nextToken", "")
        events: list[Mapping[str, Any]] = answer["events"]
        return events


def is_end(line: str) -> bool:
    """Return True if a line is an entrypoint's end mark."""
    return line.startswith(f'{MARK}{{"{END}"')


def write_cursor(cursor: Cursor) -> str:
    """Return a cursor as text, such as `algo-1-1700000000@1700000012345.2`. Commas separate the streams."""
    return ",".join(f"{stream}@{at_ms}.{n}" for stream, (at_ms, n) in sorted(cursor.items()))


def parse_cursor(text: str) -> dict[str, Position]:
    """Read the text that `write_cursor` has returned."""
    cursor = {}
    for item in filter(None, text.split(",")):
        stream, _, position = item.rpartition("@")
        at_ms, _, n = position.partition(".")
        cursor[stream] = (int(at_ms), int(n))
    return cursor
