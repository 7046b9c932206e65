"""How far a job's log has been read: for each of its streams the last event's time, and which one of that time."""

from __future__ import annotations

from collections.abc import Mapping

Position = tuple[int, int]  # milliseconds since the epoch; n-th event of the stream with that time, from 1
Cursor = Mapping[str, Position]  # stream without the job's name -> position


def write_cursor(cursor: Cursor) -> str:
    """Write as text, such as `algo-1-1700000000@1700000012345.2`; several joined by commas, "" for none."""
    return ",".join(f"{stream}@{at_ms}.{n}" for stream, (at_ms, n) in sorted(cursor.items()))


def parse_cursor(text: str) -> dict[str, Position]:
    cursor = {}
    for item in filter(None, text.split(",")):
        stream, _, position = item.rpartition("@")
        at_ms, _, n = position.partition(".")
        cursor[stream] = (int(at_ms), int(n))
    return cursor
