"""FilterLogEvents. The implementation of moto ignores logStreamNamePrefix."""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from operator import attrgetter
from typing import Any

from moto.logs.models import LogEvent

from smsweep.emulator.api import paging
from smsweep.emulator.api_error import ApiError

MAX_EVENTS = 10_000  # API: maximum and default per page
MAX_BYTES = 1 << 20  # API: maximum per page; an event counts as its message plus 26 bytes
MAX_STREAMS = 100  # API: maximum number of names in a call

_TIME = attrgetter("timestamp")
_POSITION = attrgetter("timestamp", "event_id")


def filter_log_events(group: Mapping[str, list[LogEvent]] | None, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the response of FilterLogEvents.

    Events of all streams are in one list, ordered by time and then by arrival. The token refers to the last event
    of the page, so that the next page includes later events that arrive in the meantime. All words of the filter
    pattern must be in the message.

    Args:
        group: Events of each stream by its name, ordered by time; None if the group does not exist.
        request: Parameters of the call.

    Raises:
        ApiError: If a parameter is not valid.
    """
    name = request.get("logGroupName") or request.get("logGroupIdentifier")
    if not name:
        raise _invalid_parameter(
            "1 validation error detected: Value null at 'logGroupName' failed to satisfy constraint: "
            "Member must not be null"
        )
    if group is None:
        raise ApiError("ResourceNotFoundException", "The specified log group does not exist.")
    limit = request.get("limit", MAX_EVENTS)
    if not 1 <= limit <= MAX_EVENTS:
        bound = f"less than or equal to {MAX_EVENTS}" if limit > 1 else "greater than or equal to 1"
        raise _invalid_parameter(
            f"1 validation error detected: Value '{limit}' at 'limit' failed to satisfy constraint: "
            f"Member must have value {bound}"
        )
    matching = _matching_events(group, request, paging.read_position(request.get("nextToken")))
    shown: list[dict[str, Any]] = []
    position, size = (0, 0), 0
    for stream, event in matching:
        size += len(event.message.encode()) + 26
        if shown and (len(shown) == limit or size > MAX_BYTES):
            return {"events": shown, "searchedLogStreams": [], "nextToken": paging.make_token(position)}
        shown.append({"logStreamName": stream, **event.to_filter_dict()})
        position = _POSITION(event)
    return {"events": shown, "searchedLogStreams": []}


def _matching_events(
    group: Mapping[str, list[LogEvent]], request: Mapping[str, Any], after: tuple[int, int]
) -> Iterator[tuple[str, LogEvent]]:
    """Yield (stream, event), oldest first. after: position of the last event of the previous page."""
    start, end = request.get("startTime", 0), request.get("endTime", float("inf"))
    words = request.get("filterPattern", "").replace('"', " ").split()

    def of_stream(name: str) -> Iterator[tuple[str, LogEvent]]:
        events = group[name]
        first = max(bisect_left(events, start, key=_TIME), bisect_right(events, after, key=_POSITION))
        return ((name, events[n]) for n in range(first, len(events)))

    streams = [of_stream(name) for name in _streams(group, request)]
    for name, event in heapq.merge(*streams, key=lambda item: _POSITION(item[1])):
        if event.timestamp > end:
            return
        if all(word in event.message for word in words):
            yield name, event


def _streams(group: Mapping[str, list[LogEvent]], request: Mapping[str, Any]) -> list[str]:
    names, prefix = request.get("logStreamNames"), request.get("logStreamNamePrefix")
    if names is not None and prefix is not None:
        raise _invalid_parameter("logStreamNamePrefix and logStreamNames are mutually exclusive")
    if names is None:
        return [name for name in group if name.startswith(prefix or "")]
    if len(names) > MAX_STREAMS:
        raise _invalid_parameter(
            "1 validation error detected: Value at 'logStreamNames' failed to satisfy constraint: "
            f"Member must have length less than or equal to {MAX_STREAMS}"
        )
    if not set(names) <= group.keys():
        raise ApiError("ResourceNotFoundException", "The specified log stream does not exist.")
    return list(names)


def _invalid_parameter(message: str) -> ApiError:
    return ApiError("InvalidParameterException", message)
