"""FilterLogEvents, which moto answers without regard to logStreamNamePrefix."""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from operator import attrgetter
from typing import Any

from moto.logs.models import LogEvent

from smsweep.emulator.api import paging
from smsweep.emulator.api_error import ApiError

MAX_EVENTS = 10_000  # API: of a page, and the default
MAX_BYTES = 1 << 20  # API: of a page; an event counts as its message and 26
MAX_STREAMS = 100  # API: names in one call

_TIME = attrgetter("timestamp")
_PLACE = attrgetter("timestamp", "event_id")


def filter_log_events(group: Mapping[str, list[LogEvent]] | None, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer from a group's streams, or raise ApiError. Events come interleaved: by time, then as they came in.

    group: by name, each stream's events in order of time.

    A token goes on behind the last event shown, so that events that came in meanwhile with a later time are not
    lost. A filter pattern is taken as words that must all be in the message.
    """
    name = request.get("logGroupName") or request.get("logGroupIdentifier")
    if not name:
        raise _wrong(
            "1 validation error detected: Value null at 'logGroupName' failed to satisfy constraint: "
            "Member must not be null"
        )
    if group is None:
        raise ApiError("ResourceNotFoundException", "The specified log group does not exist.")
    limit = request.get("limit", MAX_EVENTS)
    if not 1 <= limit <= MAX_EVENTS:
        bound = f"less than or equal to {MAX_EVENTS}" if limit > 1 else "greater than or equal to 1"
        raise _wrong(
            f"1 validation error detected: Value '{limit}' at 'limit' failed to satisfy constraint: "
            f"Member must have value {bound}"
        )
    found = _wanted(group, request, paging.read_place(request.get("nextToken")))
    shown: list[dict[str, Any]] = []
    place, size = (0, 0), 0
    for stream, event in found:
        size += len(event.message.encode()) + 26
        if shown and (len(shown) == limit or size > MAX_BYTES):
            return {"events": shown, "searchedLogStreams": [], "nextToken": paging.make_token(place)}
        shown.append({"logStreamName": stream, **event.to_filter_dict()})
        place = _PLACE(event)
    return {"events": shown, "searchedLogStreams": []}


def _wanted(
    group: Mapping[str, list[LogEvent]], request: Mapping[str, Any], after: tuple[int, int]
) -> Iterator[tuple[str, LogEvent]]:
    """Yield events and their streams, oldest first. after: the place of the last one that was shown."""
    start, end = request.get("startTime", 0), request.get("endTime", float("inf"))
    words = request.get("filterPattern", "").replace('"', " ").split()

    def of_stream(name: str) -> Iterator[tuple[str, LogEvent]]:
        events = group[name]
        first = max(bisect_left(events, start, key=_TIME), bisect_right(events, after, key=_PLACE))
        return ((name, events[n]) for n in range(first, len(events)))

    streams = [of_stream(name) for name in _streams(group, request)]
    for name, event in heapq.merge(*streams, key=lambda item: _PLACE(item[1])):
        if event.timestamp > end:
            return
        if all(word in event.message for word in words):
            yield name, event


def _streams(group: Mapping[str, list[LogEvent]], request: Mapping[str, Any]) -> list[str]:
    names, prefix = request.get("logStreamNames"), request.get("logStreamNamePrefix")
    if names is not None and prefix is not None:
        raise _wrong("logStreamNamePrefix and logStreamNames cannot both be given")
    if names is None:
        return [name for name in group if name.startswith(prefix or "")]
    if len(names) > MAX_STREAMS:
        raise _wrong(
            "1 validation error detected: Value at 'logStreamNames' failed to satisfy constraint: "
            f"Member must have length less than or equal to {MAX_STREAMS}"
        )
    if not set(names) <= group.keys():
        raise ApiError("ResourceNotFoundException", "The specified log stream does not exist.")
    return list(names)


def _wrong(message: str) -> ApiError:
    return ApiError("InvalidParameterException", message)
