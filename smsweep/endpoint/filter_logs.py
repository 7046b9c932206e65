"""FilterLogEvents, which moto answers without regard to logStreamNamePrefix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from moto.logs.models import LogEvent

from smsweep.endpoint import paging
from smsweep.endpoint.api_error import ApiError

MAX_EVENTS = 10_000  # API: of a page, and the default
MAX_STREAMS = 100  # API: names in one call


def filter_log_events(group: Mapping[str, list[LogEvent]] | None, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer from a group's streams, or raise ApiError. Events come interleaved: by time, then as they came in.

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
    shown, token = paging.page(
        [(event.timestamp, event.event_id, stream, event) for stream, event in _wanted(group, request)],
        lambda item: item[:2],
        request.get("nextToken"),
        limit,
        is_reverse=False,
    )
    answer: dict[str, Any] = {
        "events": [{"logStreamName": stream, **event.to_filter_dict()} for _, _, stream, event in shown],
        "searchedLogStreams": [],
    }
    if token:
        answer["nextToken"] = token
    return answer


def _wanted(group: Mapping[str, list[LogEvent]], request: Mapping[str, Any]) -> Iterator[tuple[str, LogEvent]]:
    start, end = request.get("startTime", 0), request.get("endTime", float("inf"))
    words = request.get("filterPattern", "").replace('"', " ").split()
    for stream in _streams(group, request):
        for event in group[stream]:
            if start <= event.timestamp <= end and all(word in event.message for word in words):
                yield stream, event


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
