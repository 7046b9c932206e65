"""Actions of SageMaker on other AWS services, which moto emulates in this process: logs, metrics, events.

Requests of clients reach moto over HTTP. Actions of SageMaker itself, such as writing logs and sending events,
use moto's objects directly, without access control. FilterLogEvents is implemented here, because moto's ignores
logStreamNamePrefix.
"""

from __future__ import annotations

import heapq
import ipaddress
import json
import logging
import math
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from operator import attrgetter
from typing import Any, TypeVar

from moto.cloudwatch.models import CloudWatchBackend, MetricDatum, cloudwatch_backends
from moto.events.models import EventsBackend, events_backends
from moto.iam.exceptions import NotFoundException
from moto.iam.models import IAMBackend, iam_backends
from moto.logs.models import LogEvent, LogGroup, LogsBackend, LogStream, logs_backends
from moto.moto_api._internal.models import moto_api_backend

from smsweep.backends.docker.engine import Engine
from smsweep.core.line_regex import LineRegex, LineSearch
from smsweep.core.regex_syntax import RegexError
from smsweep.emulator.api import paging
from smsweep.emulator.api.documents import EVENT_FIELDS, description
from smsweep.emulator.api_error import ACCOUNT, LOG_GROUP, ApiError
from smsweep.emulator.jobs.job import Job
from smsweep.emulator.jobs.tuning_job import TuningRecord

log = logging.getLogger(__name__)

MAX_MESSAGE = 1_048_576 - 26  # CloudWatch Logs: maximum bytes of a message, without the overhead of an event
DIMENSION = "TrainingJobName"  # of the metrics in the namespace LOG_GROUP
EVENT_TYPE = "SageMaker Training Job State Change"
TUNING_EVENT_TYPE = "SageMaker HyperParameter Tuning Job State Change"
TRUST = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}

Announced = TypeVar("Announced", Job, TuningRecord)

_lifetime_lock = threading.Lock()
_n_alive = 0  # emulators in this process; they share the state of moto
LOOPBACK = "127.0.0.1"
DESKTOP = "Docker Desktop"  # its engine is in a virtual machine, which forwards DESKTOP_HOST to our loopback
DESKTOP_HOST = "host.docker.internal"
HOST_NAMES = ("localhost", DESKTOP_HOST)  # S3 clients put the bucket in front of these names
MAX_EVENTS = 10_000  # API: maximum and default per page
MAX_BYTES = 1 << 20  # API: maximum per page; an event counts as its message plus 26 bytes
MAX_STREAMS = 100  # API: maximum number of names in a call
_TIME = attrgetter("timestamp")
_POSITION = attrgetter("timestamp", "event_id")


@contextmanager
def moto_lifetime() -> Iterator[None]:
    """Reset moto when the last emulator of this process stops, so that the next one has an empty account."""
    global _n_alive
    with _lifetime_lock:
        _n_alive += 1
    try:
        yield
    finally:
        with _lifetime_lock:
            _n_alive -= 1
            if _n_alive == 0:
                moto_api_backend.reset()


class MotoServices:
    """Reads and writes logs, metrics, roles and events of the account."""

    def write_metrics(self, job: Job, values: Sequence[tuple[str, float]], now: float) -> None:
        """Send the values of a job's metrics to CloudWatch.

        Args:
            job: The job.
            values: Name and value of each point, in order.
            now: Seconds since the epoch.
        """
        if not values:
            return
        cloudwatch: CloudWatchBackend = cloudwatch_backends[ACCOUNT][job.region]
        at = datetime.fromtimestamp(now, timezone.utc).replace(tzinfo=None)  # moto compares times without a zone
        dimensions = [{"Name": DIMENSION, "Value": job.name}]
        cloudwatch.put_metric_data(
            LOG_GROUP,
            [
                {"MetricName": name, "Value": value, "Timestamp": at, "Dimensions": dimensions}
                for name, value in values
            ],
        )

    def metric_values(self, job: Job, name: str) -> list[tuple[float, float]]:
        """Return the points of a job's metric in CloudWatch, in order: (seconds since the epoch, value)."""
        cloudwatch: CloudWatchBackend = cloudwatch_backends[ACCOUNT][job.region]
        return [
            (datum.timestamp.replace(tzinfo=timezone.utc).timestamp(), datum.value)
            for datum in cloudwatch.metric_data
            if isinstance(datum, MetricDatum)
            and (datum.namespace, datum.name) == (LOG_GROUP, name)
            and [(each.name, each.value) for each in datum.dimensions] == [(DIMENSION, job.name)]
        ]

    def write_log(self, job: Job, lines: Sequence[str], now: float) -> None:
        """Append lines to the job's current log stream, which is created if necessary.

        Args:
            job: The job.
            lines: Log lines.
            now: Seconds since the epoch.
        """
        logs: LogsBackend = logs_backends[ACCOUNT][job.region]
        logs.ensure_log_group(LOG_GROUP)
        streams = logs.groups[LOG_GROUP].streams
        if job.log_stream not in streams:
            logs.create_log_stream(LOG_GROUP, job.log_stream)
        stream: LogStream = streams[job.log_stream]
        at_ms = max(
            [round(now * 1000), *(event.timestamp for event in stream.events[-1:])]
        )  # the clock can go back
        stream.put_log_events([{"timestamp": at_ms, "message": line[:MAX_MESSAGE]} for line in lines])

    def log_group(self, region: str, name: str) -> dict[str, list[LogEvent]] | None:
        """Return the events of each stream of a group, ordered by time; None if the group does not exist."""
        logs: LogsBackend = logs_backends[ACCOUNT][region]
        group: LogGroup | None = logs.groups.get(name)
        return None if group is None else dict(_events(group))

    def ensure_role(self, name: str) -> None:
        """Create a role that SageMaker can assume, unless a role with that name exists."""
        roles: IAMBackend = iam_backends[ACCOUNT]["aws"]
        try:
            roles.get_role(name)
        except NotFoundException:
            trust = json.dumps({"Version": "2012-10-17", "Statement": [TRUST]})
            roles.create_role(name, trust, "/", None, "", [], None)

    def announce(self, job: Job, *, times: int = 1) -> None:
        """Send the event about a job's new status. times: number of deliveries."""
        self._send(EVENT_TYPE, job, event_detail, times)

    def announce_tuning(
        self, record: TuningRecord, detail_of: Callable[[TuningRecord], dict[str, Any]], *, times: int = 1
    ) -> None:
        """Send the event about a tuning job's new status.

        Args:
            record: The tuning job.
            detail_of: Returns the detail of the event.
            times: Number of deliveries.
        """
        self._send(TUNING_EVENT_TYPE, record, detail_of, times)

    def _send(
        self, kind: str, job: Announced, detail_of: Callable[[Announced], dict[str, Any]], times: int
    ) -> None:
        events: EventsBackend = events_backends[ACCOUNT][job.region]
        try:
            event: dict[str, Any] = {
                "Source": "aws.sagemaker",
                "DetailType": kind,
                "Detail": json.dumps(detail_of(job)),
                "Resources": [job.arn],
                "Time": job.modified_at,
            }
            for _ in range(times):
                events.put_events([event])
        except Exception:  # a rule with a broken target must not make the job fail
            log.exception("%s: cannot deliver the event", job.name)


def _events(group: LogGroup) -> Iterator[tuple[str, list[LogEvent]]]:
    streams: dict[str, LogStream] = group.streams
    for name, stream in list(streams.items()):
        events: list[LogEvent] = list(stream.events)
        yield name, events if group.name == LOG_GROUP else sorted(events, key=attrgetter("timestamp"))


def event_detail(job: Job) -> dict[str, Any]:
    """Return the detail of a state change event. Its times are in milliseconds."""
    document = description(job)
    detail = {name: document[name] for name in EVENT_FIELDS if name in document}
    for name in ("CreationTime", "TrainingStartTime", "TrainingEndTime", "LastModifiedTime"):
        if name in detail:
            detail[name] = round(detail[name] * 1000)
    for step in detail["SecondaryStatusTransitions"]:
        for name in ("StartTime", "EndTime"):
            if name in step:
                step[name] = round(step[name] * 1000)
    return {**detail, "Tags": dict(job.tags)}


class MetricReader:
    """Parses metrics in log lines.

    Args:
        definitions: MetricDefinitions of the request. A definition with an invalid regex matches nothing, as on
            SageMaker.
    """

    def __init__(self, definitions: Sequence[Mapping[str, Any]]) -> None:
        regexes = [(item["Name"], _compiled(item["Regex"])) for item in definitions]
        self._search = LineSearch([(name, regex) for name, regex in regexes if regex is not None])

    def read(self, lines: Iterable[str]) -> list[tuple[str, float]]:
        """Return the metrics in the lines, in order: (name, value)."""
        values = []
        self._search.begin_page()
        for line in lines:
            if self._search.begin(line):
                for name, text in self._search.find(line):
                    value = _number(text)
                    if value is not None:
                        values.append((name, value))
        return values


def _compiled(regex: str) -> LineRegex | None:
    try:
        return LineRegex(regex)
    except RegexError:
        return None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None  # CloudWatch accepts only finite values


def container_host(environ: Mapping[str, str]) -> str:
    """Return the name or address of this machine from inside a container. Raises BackendUnavailable."""
    with Engine(environ).client() as client:
        if client.info().get("OperatingSystem") == DESKTOP:
            return DESKTOP_HOST
        (config, *_) = client.inspect_network("bridge")["IPAM"]["Config"]
    # Older engines omit the gateway, which is the first address of the network.
    return str(config.get("Gateway") or next(ipaddress.ip_network(config["Subnet"]).hosts()))


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
    entries: list[dict[str, Any]] = []
    position, size = (0, 0), 0
    for stream, event in matching:
        size += len(event.message.encode()) + 26
        if entries and (len(entries) == limit or size > MAX_BYTES):
            return {"events": entries, "searchedLogStreams": [], "nextToken": paging.make_token(position)}
        entries.append({"logStreamName": stream, **event.to_filter_dict()})
        position = _POSITION(event)
    return {"events": entries, "searchedLogStreams": []}


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
