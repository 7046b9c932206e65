"""The services around SageMaker, played by moto in this process.

What a user's client calls goes to moto over HTTP like any request. What SageMaker itself does in an account (write
logs, send events) is done here on moto's own objects, without asking anybody's permission.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from typing import Any

from moto.events.models import EventsBackend, events_backends
from moto.logs.models import LogEvent, LogGroup, LogsBackend, LogStream, logs_backends

from smsweep.endpoint.account import ACCOUNT, LOG_GROUP
from smsweep.endpoint.documents import event_detail
from smsweep.endpoint.job import Job

log = logging.getLogger(__name__)

MAX_MESSAGE = 1_048_576 - 26  # CloudWatch Logs: bytes of an event, less its overhead
EVENT_TYPE = "SageMaker Training Job State Change"


class Cloud:
    """Reads and writes what belongs to one account."""

    def write_log(self, job: Job, lines: Sequence[str], now: float) -> None:
        """Append lines to the job's present stream, made if need be. now: seconds since the epoch."""
        logs: LogsBackend = logs_backends[ACCOUNT][job.region]
        logs.ensure_log_group(LOG_GROUP)
        streams = logs.groups[LOG_GROUP].streams
        if job.log_stream not in streams:
            logs.create_log_stream(LOG_GROUP, job.log_stream)
        events = [{"timestamp": round(now * 1000), "message": line[:MAX_MESSAGE]} for line in lines]
        streams[job.log_stream].put_log_events(events)

    def log_group(self, region: str, name: str) -> dict[str, list[LogEvent]] | None:
        """Return a group's streams and their events, as they are now; None when there is no such group."""
        logs: LogsBackend = logs_backends[ACCOUNT][region]
        group: LogGroup | None = logs.groups.get(name)
        return None if group is None else dict(_events(group))

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
        yield name, list(stream.events)
