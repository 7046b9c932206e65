"""FilterLogEvents over the streams of a test."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto.logs.models import LogEvent

from smsweep.emulator.api.paging import make_token
from smsweep.emulator.api_error import ApiError
from smsweep.emulator.jobs.moto_services import filter_log_events

Group = dict[str, list[LogEvent]]


def group(**streams: list[tuple[int, str]]) -> Group:
    return {
        name: [LogEvent(0, {"timestamp": at, "message": message}) for at, message in events]
        for name, events in streams.items()
    }


def messages(found: Group, **options: Any) -> list[str]:
    answer = filter_log_events(found, {"logGroupName": "group", **options})
    return [event["message"] for event in answer["events"]]


def test_streams_are_merged_by_time() -> None:
    found = group(a=[(1, "a1"), (3, "a3")], b=[(2, "b2"), (3, "b3")])
    assert messages(found) == ["a1", "b2", "a3", "b3"]


def test_stream_prefix_selects_streams() -> None:
    assert messages(group(job_1=[(1, "one")], job_10=[(2, "ten")], x=[(3, "x")]), logStreamNamePrefix="job_1") == [
        "one",
        "ten",
    ]


def test_time_range_includes_start_and_end() -> None:
    found = group(a=[(number, str(number)) for number in range(5)])
    assert messages(found, startTime=1, endTime=3) == ["1", "2", "3"]


def test_filter_pattern_needs_all_words() -> None:
    found = group(a=[(1, "loss down"), (2, "loss up")])
    assert messages(found, filterPattern='"loss" up') == ["loss up"]


@given(
    st.dictionaries(st.sampled_from("abc"), st.lists(st.integers(0, 5), max_size=12), min_size=1),
    st.integers(1, 7),
)
def test_pages_contain_each_event_once(times: dict[str, list[int]], limit: int) -> None:
    found = group(**{name: [(at, f"{name}{at}") for at in sorted(ats)] for name, ats in times.items()})
    whole = filter_log_events(found, {"logGroupName": "group"})["events"]
    shown: list[Any] = []
    request: dict[str, Any] = {"logGroupName": "group", "limit": limit}
    while True:
        page = filter_log_events(found, request)
        shown += page["events"]
        if "nextToken" not in page:
            break
        request["nextToken"] = page["nextToken"]
    assert shown == whole


def test_page_ends_at_one_megabyte() -> None:
    found = group(a=[(number, "é" * 300_000) for number in range(3)] + [(3, "x" * 2_000_000), (4, "end")])
    sizes = []
    request: dict[str, Any] = {"logGroupName": "group"}
    while True:
        page = filter_log_events(found, request)
        sizes.append([len(event["message"]) for event in page["events"]])
        if "nextToken" not in page:
            break
        request["nextToken"] = page["nextToken"]
    assert sizes == [[300_000], [300_000], [300_000], [2_000_000], [3]]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"logStreamNames": ["a"], "logStreamNamePrefix": "a"}, "InvalidParameterException"),
        ({"logStreamNames": ["missing"]}, "ResourceNotFoundException"),
        ({"logStreamNames": [str(number) for number in range(101)]}, "InvalidParameterException"),
        ({"limit": 10_001}, "InvalidParameterException"),
        ({"limit": 0}, "InvalidParameterException"),
        ({"nextToken": make_token(["a", "b"])}, "ValidationException"),
        ({"nextToken": "x"}, "ValidationException"),
    ],
)
def test_invalid_parameters_are_rejected(options: dict[str, Any], code: str) -> None:
    with pytest.raises(ApiError) as refused:
        messages(group(a=[]), **options)
    assert refused.value.code == code
