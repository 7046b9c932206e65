"""The services around SageMaker, played by moto in this process.

What a user's client calls goes to moto over HTTP like any request. What SageMaker itself does in an account (write
logs, send events) is done here on moto's own objects, without asking anybody's permission.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import Any

from moto.events.models import EventsBackend, events_backends
from moto.iam.exceptions import NotFoundException
from moto.iam.models import IAMBackend, iam_backends
from moto.logs.models import LogEvent, LogGroup, LogsBackend, LogStream, logs_backends
from moto.moto_api._internal.models import moto_api_backend

from smsweep.emulator.account import ACCOUNT, LOG_GROUP
from smsweep.emulator.api.documents import EVENT_FIELDS, description
from smsweep.emulator.jobs.job import Job

log = logging.getLogger(__name__)

MAX_MESSAGE = 1_048_576 - 26  # CloudWatch Logs: bytes of an event, less its overhead
EVENT_TYPE = "SageMaker Training Job State Change"
TRUST = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}

_life = threading.Lock()
_n_alive = 0  # endpoints of this process, which share what moto plays


@contextmanager
def life() -> Iterator[None]:
    """Let what moto plays end with the last endpoint of this process; the next one finds an empty account."""
    global _n_alive
    with _life:
        _n_alive += 1
    try:
        yield
    finally:
        with _life:
            _n_alive -= 1
            if _n_alive == 0:
                moto_api_backend.reset()


class Cloud:
    """Reads and writes what belongs to one account."""

    def write_log(self, job: Job, lines: Sequence[str], now: float) -> None:
        """Append lines to the job's present stream, made if need be. now: seconds since the epoch."""
        logs: LogsBackend = logs_backends[ACCOUNT][job.region]
        logs.ensure_log_group(LOG_GROUP)
        streams = logs.groups[LOG_GROUP].streams
        if job.log_stream not in streams:
            logs.create_log_stream(LOG_GROUP, job.log_stream)
        stream: LogStream = streams[job.log_stream]
        at_ms = max([round(now * 1000), *(event.timestamp for event in stream.events[-1:])])  # clocks may go back
        stream.put_log_events([{"timestamp": at_ms, "message": line[:MAX_MESSAGE]} for line in lines])

    def log_group(self, region: str, name: str) -> dict[str, list[LogEvent]] | None:
        """Return a group's streams and their events, in order of time; None when there is no such group."""
        logs: LogsBackend = logs_backends[ACCOUNT][region]
        group: LogGroup | None = logs.groups.get(name)
        return None if group is None else dict(_events(group))

    def ensure_role(self, name: str) -> None:
        """Make a role that SageMaker may take on, unless there is one of that name."""
        roles: IAMBackend = iam_backends[ACCOUNT]["aws"]
        try:
            roles.get_role(name)
        except NotFoundException:
            trust = json.dumps({"Version": "2012-10-17", "Statement": [TRUST]})
            roles.create_role(name, trust, "/", None, "", [], None)

    def announce(self, job: Job, *, times: int = 1) -> None:
        """Send the event of a job's new state."""
        events: EventsBackend = events_backends[ACCOUNT][job.region]
        event: dict[str, Any] = {
            "Source": "aws.sagemaker",
            "DetailType": EVENT_TYPE,
            "Detail": json.dumps(event_detail(job)),
            "Resources": [job.arn],
            "Time": job.modified_at,
        }
        for _ in range(times):
            try:
                events.put_events([event])
            except Exception:  # a rule with a broken target is no reason for a job to fail
                log.exception("%s: its event cannot be delivered", job.name)


def _events(group: LogGroup) -> Iterator[tuple[str, list[LogEvent]]]:
    streams: dict[str, LogStream] = group.streams
    for name, stream in list(streams.items()):
        events: list[LogEvent] = list(stream.events)
        yield name, events if group.name == LOG_GROUP else sorted(events, key=attrgetter("timestamp"))


def event_detail(job: Job) -> dict[str, Any]:
    """Return the detail of a state change event, whose times are milliseconds."""
    shown = description(job)
    detail = {name: shown[name] for name in EVENT_FIELDS if name in shown}
    for name in ("CreationTime", "TrainingStartTime", "TrainingEndTime", "LastModifiedTime"):
        if name in detail:
            detail[name] = round(detail[name] * 1000)
    for step in detail["SecondaryStatusTransitions"]:
        for name in ("StartTime", "EndTime"):
            if name in step:
                step[name] = round(step[name] * 1000)
    return {**detail, "Tags": dict(job.tags)}
