"""Logs of several jobs from shared calls. No line is lost, even if a job is behind."""

from __future__ import annotations

from typing import Any, cast

from smsweep.aws.client import Aws
from smsweep.backends.sagemaker.cloudwatch import LogReader
from smsweep.backends.sagemaker.rate_limit import RateLimits

PAGE = 2
HOUR_MS = 3_600_000


class CloudWatch:
    """Answers FilterLogEvents from these events: (job, milliseconds, message)."""

    def __init__(self, *events: tuple[str, int, str]) -> None:
        self.events = sorted(events, key=lambda event: event[1])

    def call(self, service: str, method: str, **given: Any) -> dict[str, Any]:
        assert (service, method) == ("logs", "filter_log_events")
        found = [
            {"logStreamName": f"{job}/algo-1-1", "timestamp": at_ms, "message": message}
            for job, at_ms, message in self.events
            if f"{job}/algo-1-1".startswith(given["logStreamNamePrefix"]) and at_ms >= given["startTime"]
        ]
        begin = int(given.get("nextToken", 0))
        token = {"nextToken": str(begin + PAGE)} if begin + PAGE < len(found) else {}
        return {"events": found[begin : begin + PAGE], **token}


def logs_of(cloud: CloudWatch) -> LogReader:
    return LogReader(cast(Aws, cloud), RateLimits({}, lambda: 0.0), 0.0, 0.0, lambda: 0.0)


def test_reader_returns_all_lines_of_a_job_that_is_behind_others() -> None:
    old = [("job-a", at_ms, f"a{at_ms}") for at_ms in range(7)]
    now = [("job-b", HOUR_MS, "b"), ("job-a", HOUR_MS, "a-now")]
    logs = logs_of(CloudWatch(*old, *now))
    assert logs.read("job-b", "").lines == ("b",)
    lines: list[str] = []
    cursor = ""
    while (page := logs.read("job-a", cursor)).lines or page.is_behind:
        lines += page.lines
        cursor = page.cursor
        logs.poll()
    assert lines == [*(message for _, _, message in old), "a-now"]


def test_empty_page_within_a_log_is_not_its_end() -> None:
    cloud = CloudWatch(("job-a", 1, "first"))
    logs, call = logs_of(cloud), cloud.call
    cloud.call = lambda *words, **given: (  # type: ignore[method-assign]  # AWS can answer like this
        call(*words, **given) if given.get("nextToken") else {"events": [], "nextToken": "0"}
    )
    page = logs.read("job-a", "")
    assert (page.lines, page.is_behind) == ((), True)
    page = logs.read("job-a", page.cursor)
    assert (page.lines, page.is_behind) == (("first",), False)
