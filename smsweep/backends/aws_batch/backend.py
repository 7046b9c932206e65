"""Training jobs through a job queue of AWS Batch, which starts them when there is capacity."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from smsweep.aws.client import Aws
from smsweep.aws.image_uris import check_python
from smsweep.aws.job_template import check_place, prepare
from smsweep.aws.options import SageMakerOptions
from smsweep.aws.prices import ask_account, ask_price
from smsweep.aws.request_model import validate
from smsweep.backends.base import BackendSpec
from smsweep.backends.sagemaker.backend import SageMakerBackend
from smsweep.backends.sagemaker.doctor import diagnose
from smsweep.backends.sagemaker.job_poller import common_prefix
from smsweep.backends.sagemaker.rate_limit import RateLimits
from smsweep.core.job import JobStatus, JobTemplate, LogPage, TrainingJobRequest
from smsweep.errors import JobRejected, NameTaken, UsageError

log = logging.getLogger(__name__)

# Calls per second, for all jobs together. AWS documents no limits.
RATES = {"SubmitServiceJob": 2.0, "ListServiceJobs": 1.0, "TerminateServiceJob": 2.0}
WAITS = "Pending"  # secondary status of SageMaker for a job without a machine
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


def check_settings(template: JobTemplate, environ: Mapping[str, str]) -> None:
    """Check the queue's name, the secrets, the credentials and the bucket. Raises JobError, UsageError."""
    JobQueue.from_environ(environ)
    check_place(template, environ)


class BatchBackend:
    """The SageMaker backend behind a queue. The requests and the training jobs are the same.

    Args:
        environ: The user's environment variables. `SMSWEEP_BATCH_QUEUE` names the queue.
        clock: The time in seconds since the epoch.
        monotonic: The time in seconds, for pauses and rates.

    Raises:
        UsageError: If a setting is missing or invalid.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = JobQueue.from_environ(environ)
        self._jobs = SageMakerBackend(environ, clock, monotonic)
        self._aws = Aws(environ)
        self._monotonic = monotonic
        self._poll_s = SageMakerOptions.from_environ(environ).poll_s
        self._rates = RateLimits(RATES if self._poll_s >= 1 else {}, monotonic)
        self._known: dict[str, ServiceJob] = {}  # by the service job's name
        self._listed_at = float("-inf")
        self._to_stop: set[str] = set()

    @property
    def place(self) -> str:
        return self._jobs.place.replace("sagemaker@", "batch@")

    def submit(self, request: TrainingJobRequest) -> None:
        name = request["TrainingJobName"]
        if name in self._known:
            return
        validate(request)
        self._rates.demand("SubmitServiceJob")
        try:
            answer = self._aws.call("batch", "submit_service_job", **submission(self._queue, request))
        except (BotoCoreError, ClientError) as err:
            error = self._aws.error(err, "batch", "submit_service_job")
            if isinstance(error, JobRejected) and self._find(name) is not None:
                return  # an earlier call has submitted the job
            raise error from err
        if answer["jobName"] != name:
            raise NameTaken(
                f"service job {answer['jobId']} has the token of {name} but is named {answer['jobName']}"
            )
        self._known[name] = ServiceJob(id=answer["jobId"], name=name, status="SUBMITTED")

    def describe(self, names: Collection[str]) -> dict[str, JobStatus]:
        for name in names:
            if name not in self._known:
                self._find(name)
        self._send_stops()
        self._poll()
        known = {name: self._known[name] for name in names if name in self._known}
        real = {job.training_job for job in known.values() if job.training_job}
        statuses = self._jobs.describe(real) if real else {}
        return {name: _status(job, statuses.get(job.training_job)) for name, job in known.items()}

    def stop(self, name: str, *, grace_s: float | None = None) -> None:
        del grace_s  # SageMaker's grace period is always 120 s
        if name in self._known or self._find(name) is not None:
            self._to_stop.add(name)
            self._send_stops()

    def read_logs(self, name: str, cursor: str = "") -> LogPage:
        job = self._known.get(name) or self._find(name)
        if job is None or not job.training_job:
            return LogPage(lines=(), cursor=cursor, is_last=job is not None and job.has_ended)
        return self._jobs.read_logs(job.training_job, cursor)

    def forget(self, name: str) -> None:
        job = self._known.pop(name, None)
        self._to_stop.discard(name)
        if job is not None and job.training_job:
            self._jobs.forget(job.training_job)

    def wait(self, timeout_s: float) -> None:
        self._jobs.wait(timeout_s)

    def close(self) -> None:
        self._jobs.close()
        self._aws.close()

    def _find(self, name: str) -> ServiceJob | None:
        """Find a job that another agent has submitted, and poll it from now on. Raises JobError."""
        self._rates.demand("ListServiceJobs")
        for job in named(self._aws, self._queue, name):
            self._known[name] = job
            return job
        return None

    def _poll(self) -> None:
        """Update the status of all jobs that have not ended, at most once per poll interval."""
        live = [name for name, job in self._known.items() if not job.has_ended]
        now = self._monotonic()
        if not live or now - self._listed_at < self._poll_s or not self._rates.take("ListServiceJobs"):
            return
        self._listed_at = now
        wanted, token = set(live), ""
        prefix = live[0] if len(live) == 1 else f"{common_prefix(live)}*"
        while wanted:
            jobs, token = pages(self._aws, self._queue, prefix, token)
            for job in jobs:
                if job.name in wanted:  # the newest of that name
                    wanted.remove(job.name)
                    self._known[job.name] = job
            if not token:
                return

    def _send_stops(self) -> None:
        for name in sorted(self._to_stop):
            job = self._known.get(name)
            if job is not None and not job.has_ended:
                if not self._rates.take("TerminateServiceJob"):
                    return
                reason = "its trial was stopped"
                self._aws.translated("batch", "terminate_service_job", jobId=job.id, reason=reason)
            self._to_stop.discard(name)


def _status(job: ServiceJob, training: JobStatus | None) -> JobStatus:
    """Return a job's status in SageMaker's terms. training: the status of its training job, if that exists."""
    if training is not None:
        return replace(training, name=job.name)
    if not job.has_ended:
        return JobStatus(name=job.name, status="InProgress", secondary_status=WAITS)
    if job.status == "SUCCEEDED":
        return JobStatus(name=job.name, status="Completed", secondary_status="Completed", exit_code=0)
    if job.was_terminated:
        return JobStatus(name=job.name, status="Stopped", secondary_status="Stopped", failure_reason=job.reason)
    return JobStatus(name=job.name, status="Failed", secondary_status="Failed", failure_reason=job.reason)


SPEC = BackendSpec(
    open=lambda context: BatchBackend(context.environ, context.clock),
    prepare=prepare,
    check_settings=check_settings,
    check_request=validate,
    check_python=check_python,
    find_jobs=find_queued_jobs,
    ask_price=ask_price,
    ask_account=ask_account,
    diagnose=diagnose,
    reads_s3=True,
)
