"""AWS Batch's service jobs: training jobs that a queue starts when there is capacity.

The queue chooses the name of the training job. So each job has two names: the one of the request, which the
service job has, and the one of the training job.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smsweep.aws.client import Aws
from smsweep.core.job import TrainingJobRequest
from smsweep.errors import UsageError

KIND = "SAGEMAKER_TRAINING"
PAGE = 100  # maximum of ListServiceJobs
ENDED = ("SUCCEEDED", "FAILED")


@dataclass(frozen=True, kw_only=True, slots=True)
class JobQueue:
    """A job queue of type SAGEMAKER_TRAINING, and the settings of its jobs."""

    name: str  # or ARN
    share: str = ""  # of a fair-share queue
    priority: int | None = None  # 0 to 9999; the highest starts first

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> JobQueue:
        """Read SMSWEEP_BATCH_QUEUE, SMSWEEP_BATCH_SHARE and SMSWEEP_BATCH_PRIORITY. Raises UsageError."""
        name = environ.get("SMSWEEP_BATCH_QUEUE", "")
        if not name:
            raise UsageError(
                "--backend batch: SMSWEEP_BATCH_QUEUE is not set; give the name or ARN of a job queue of type "
                "SAGEMAKER_TRAINING"
            )
        text = environ.get("SMSWEEP_BATCH_PRIORITY", "")
        if text and not (text.isdecimal() and int(text) <= 9999):
            raise UsageError(f"SMSWEEP_BATCH_PRIORITY: expected a whole number from 0 to 9999, got {text!r}")
        return cls(name=name, share=environ.get("SMSWEEP_BATCH_SHARE", ""), priority=int(text) if text else None)


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceJob:
    """One item of ListServiceJobs."""

    id: str
    name: str  # of the request
    status: str
    training_job: str = ""  # "" while the job waits in the queue
    reason: str = ""
    was_terminated: bool = False

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED


def submission(queue: JobQueue, request: TrainingJobRequest) -> dict[str, Any]:
    """Return the arguments of SubmitServiceJob. The token makes sure that a request is accepted only once."""
    arguments: dict[str, Any] = {
        "jobName": request["TrainingJobName"],
        "jobQueue": queue.name,
        "serviceJobType": KIND,
        "serviceRequestPayload": json.dumps(request, sort_keys=True),
        "clientToken": request["TrainingJobName"],
        "retryStrategy": {"attempts": 1},  # the agent retries trials
        "tags": {tag["Key"]: tag["Value"] for tag in request.get("Tags", ())},
    }
    if queue.share:
        arguments["shareIdentifier"] = queue.share
    if queue.priority is not None:
        arguments["schedulingPriority"] = queue.priority
    return {name: value for name, value in arguments.items() if value}


def pages(
    aws: Aws,
    queue: JobQueue,
    name: str,
    token: str = "",  # a page's # nosec B107
) -> tuple[list[ServiceJob], str]:
    """Return one page of service jobs, and the token of the next page ("" after the last).

    The newest job is first. All statuses are included.

    Args:
        aws: Calls AWS.
        queue: The queue.
        name: A name, or a prefix that ends in `*`.
        token: The token of the page; "" for the first.

    Raises:
        JobError: If AWS does not answer.
    """
    answer = aws.translated(
        "batch",
        "list_service_jobs",
        jobQueue=queue.name,
        filters=[{"name": "JOB_NAME", "values": [name]}],
        maxResults=PAGE,
        **({"nextToken": token} if token else {}),
    )
    return list(map(read_summary, answer.get("jobSummaryList", ()))), answer.get("nextToken") or ""


def named(aws: Aws, queue: JobQueue, name: str) -> Iterator[ServiceJob]:
    """Yield the service jobs of that name, the newest first."""
    token = ""  # a page's # nosec B105
    while True:
        jobs, token = pages(aws, queue, name, token)
        yield from (job for job in jobs if job.name == name)  # AWS ignores upper and lower case
        if not token:
            return


def read_summary(summary: Mapping[str, Any]) -> ServiceJob:
    arn = str(summary.get("latestAttempt", {}).get("serviceResourceId", {}).get("value", ""))
    return ServiceJob(
        id=summary["jobId"],
        name=summary["jobName"],
        status=summary.get("status", "SUBMITTED"),
        training_job=arn.rpartition("/")[2],
        reason=summary.get("statusReason", ""),
        was_terminated=bool(summary.get("isTerminated", False)),
    )


def find_queued_jobs(prefix: str, jobs_dir: Path, environ: Mapping[str, str]) -> Iterator[TrainingJobRequest]:
    """Find jobs of the queue, waiting ones included. See `base.FindJobs`. Raises JobError, UsageError."""
    del jobs_dir  # the jobs do not run on this machine
    queue, token = JobQueue.from_environ(environ), ""
    with closing(Aws(environ)) as aws:
        while True:
            jobs, token = pages(aws, queue, f"{prefix}*", token)
            for job in jobs:
                answer = aws.translated("batch", "describe_service_job", jobId=job.id)
                yield json.loads(answer["serviceRequestPayload"])
            if not token:
                return
