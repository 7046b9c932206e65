"""The SageMaker backend, its job events and warm pools. Calls have rate limits. Lost answers are requested again.

No method waits for a rate limit. A later `describe` makes the call, so that a slow API does not delay the others
or the renewal of leases.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from smsweep.aws.client import Aws
from smsweep.aws.errors import code_of, message_of
from smsweep.aws.image_uris import check_python
from smsweep.aws.job_template import check_place, prepare
from smsweep.aws.options import SageMakerOptions
from smsweep.aws.prices import ask_account, ask_price
from smsweep.aws.request_model import validate
from smsweep.backends.base import BackendSpec
from smsweep.backends.sagemaker.cloudwatch import LogReader
from smsweep.backends.sagemaker.doctor import diagnose
from smsweep.backends.sagemaker.job_poller import PAGE, JobPoller, common_prefix
from smsweep.backends.sagemaker.rate_limit import Backoffs, RateLimits
from smsweep.backends.sagemaker.status import adopt
from smsweep.core.failure_kind import CAPACITY
from smsweep.core.job import JobStatus, LogPage, TrainingJobRequest
from smsweep.errors import JobError, JobRejected, QuotaExceeded, Throttled

log = logging.getLogger(__name__)

EVENTS = "ReceiveMessage"
LESS_OFTEN = 6  # factor between two lists of the jobs if events report changes
NAME_TAKEN = "ResourceInUse"
# "The account-level service limit '...' is 3 Instances, with current utilization of 2 Instances and a request
# delta of 2 Instances."
QUOTA = re.compile(r"\bis (\d+) (\w+), with .*? request delta of (\d+) \2\b", re.DOTALL)
MAX_MESSAGES = 10  # limit of the API
PAUSE_S = 0.05  # between two attempts to take a token


class SageMakerBackend:
    """Runs each job as a training job.

    Args:
        environ: The user's environment variables: account, region and settings.
        clock: The time in seconds since the epoch.
        monotonic: The time in seconds, for pauses and rates.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        options = SageMakerOptions.from_environ(environ)
        self._aws = Aws(environ)
        self._clock = clock
        self._rates = RateLimits(options.rates, monotonic)
        self._events = Events(self._aws, options.events_queue) if options.events_queue else None
        # With events, the lists find only lost events.
        list_s = options.poll_s * (LESS_OFTEN if self._events else 1)
        self._poller = JobPoller(self._aws, self._rates, list_s, clock, monotonic)
        self._pools = WarmPools(self._aws)
        self._logs = LogReader(self._aws, self._rates, options.poll_s, options.log_lag_s, monotonic)
        self._backoffs = Backoffs(monotonic)
        self._kinds: dict[str, str] = {}  # by live job: the kind of its quota
        self._to_stop: set[str] = set()

    @property
    def place(self) -> str:
        return f"sagemaker@{self._aws.region}"

    def submit(self, request: TrainingJobRequest) -> None:
        name, kind = request["TrainingJobName"], machine_kind(request)
        if self._poller.get(name) is not None:
            return
        self._backoffs.check(kind, self._n_live(kind))
        validate(request)
        self._rates.demand("CreateTrainingJob")
        adopted = self._create(request, kind)
        status = adopted or JobStatus(name=name, status="InProgress", secondary_status="Starting")
        self._kinds[name] = kind
        self._backoffs.end(kind, self._n_live(kind))
        self._pools.note(request)
        self._poller.add(status)
        if status.is_terminal:
            self._note_end(status)
        elif adopted is None:  # the log of an adopted job is read from its beginning
            self._logs.follow(name, started_ms=round(self._aws.now(self._clock).timestamp() * 1000))

    def describe(self, names: Collection[str]) -> dict[str, JobStatus]:
        self._make_due_calls()
        statuses = {}
        for name in names:
            status = self._poller.get(name)
            if status is None and (status := self._find(name)) is not None:
                self._pools.note_adopted(name)
            if status is not None:
                statuses[name] = status
        return statuses

    def stop(self, name: str, *, grace_s: float | None = None) -> None:
        del grace_s  # SageMaker's grace period is always 120 s
        status = self._poller.get(name)
        if status is None or not status.is_terminal:
            self._to_stop.add(name)
            self._send_stops()

    def read_logs(self, name: str, cursor: str = "") -> LogPage:
        if self._poller.get(name) is None and self._find(name) is None:
            return LogPage(lines=(), cursor=cursor)
        return self._logs.read(name, cursor)

    def forget(self, name: str) -> None:
        # The job and its artifacts stay for the user.
        self._poller.drop(name)
        self._logs.forget(name)
        self._kinds.pop(name, None)
        self._to_stop.discard(name)

    def wait(self, timeout_s: float) -> None:
        time.sleep(timeout_s)

    def close(self) -> None:
        self._pools.release()
        self._aws.close()

    def _make_due_calls(self) -> None:
        """Make the calls that are due. Raises JobError."""
        self._send_stops()
        live = self._poller.live()
        if self._events and live and self._rates.take(EVENTS):
            for name in self._events.receive():
                self._poller.hurry(name)
        try:
            self._poller.poll()
        finally:  # the end of one job may be known although the poll of another failed
            for name in live:
                status = self._poller.get(name)
                if status is not None and status.is_terminal:
                    self._note_end(status)
        self._logs.poll()

    def _create(self, request: TrainingJobRequest, kind: str) -> JobStatus | None:
        """Start the job, or adopt it if it exists: then return its status. Raises JobError."""
        name = request["TrainingJobName"]
        try:
            self._aws.call("sagemaker", "create_training_job", **request)
        except (BotoCoreError, ClientError) as err:
            if isinstance(err, ClientError) and code_of(err) == NAME_TAKEN:
                log.info("%s: the training job exists already", name)
                return adopt(self._aws, request)
            error = self._aws.error(err, "sagemaker", "create_training_job")
            if isinstance(error, QuotaExceeded):
                error = quota_exceeded(err)
                self._backoffs.start(kind, error, self._n_live(kind))
            self._rates.note("CreateTrainingJob", was_throttled=isinstance(error, Throttled))
            raise error from err
        self._rates.note("CreateTrainingJob", was_throttled=False)
        return None

    def _find(self, name: str) -> JobStatus | None:
        """Find a job that another agent has started. Raises JobError."""
        status = self._poller.find(name)
        if status is not None and status.is_terminal:
            self._note_end(status)
        return status

    def _send_stops(self) -> None:
        for name in sorted(self._to_stop):
            if not self._rates.take("StopTrainingJob"):
                return
            if self._stop(name):
                self._to_stop.discard(name)

    def _stop(self, name: str) -> bool:
        """Stop a job. Return False if AWS throttles the call."""
        try:
            self._aws.call("sagemaker", "stop_training_job", TrainingJobName=name)
        except (BotoCoreError, ClientError) as err:
            error = self._aws.error(err, "sagemaker", "stop_training_job")
            if isinstance(error, Throttled):
                self._rates.note("StopTrainingJob", was_throttled=True)
                return False
            if not isinstance(error, JobRejected):  # otherwise the job has ended or does not exist
                raise error from err
            return True
        self._rates.note("StopTrainingJob", was_throttled=False)
        self._poller.note_stopping(name)
        return True

    def _note_end(self, status: JobStatus) -> None:
        results = status.results
        self._logs.note_end(status.name, results.instance_count * results.n_runs if results else 1)
        kind = self._kinds.pop(status.name, "")
        if kind and status.failure_class == CAPACITY:
            self._backoffs.start_for_capacity(kind, status.failure_reason)

    def _n_live(self, kind: str) -> int:
        return sum(other == kind for other in self._kinds.values())


def machine_kind(request: Mapping[str, Any]) -> str:
    """Return the kind of machine that AWS counts for a quota: instance type, and spot or not."""
    resources = request.get("ResourceConfig", {})
    groups = [*resources.get("InstanceGroups", ()), *resources.get("InstancePreferences", ())]
    types = sorted({group["InstanceType"] for group in groups}) or [resources.get("InstanceType", "")]
    return "+".join(types) + (" (spot)" if request.get("EnableManagedSpotTraining") else "")


def quota_exceeded(err: BotoCoreError | ClientError) -> QuotaExceeded:
    """Return the error with AWS's message, without its advice, and with the limit in the message."""
    message = message_of(err).partition(" Please ")[0] if isinstance(err, ClientError) else str(err)
    match = QUOTA.search(message)
    limit = int(match[1]) if match and match[2] == "Instances" else None
    if match and int(match[3]) > int(match[1]):
        message += " One job exceeds the limit: raise it (AWS Service Quotas), or use fewer instances in job.yaml."
    return QuotaExceeded(f"waiting for quota: {message}", limit=limit)


class Events:
    """Reads the names of changed jobs. Duplicate and old events only cause one more Describe."""

    def __init__(self, aws: Aws, queue_url: str) -> None:
        self._aws = aws
        self._queue_url = queue_url

    def receive(self) -> list[str]:
        """Return the names of changed jobs, and delete their messages from the queue. Raises JobError."""
        answer = self._aws.translated(
            "sqs", "receive_message", QueueUrl=self._queue_url, MaxNumberOfMessages=MAX_MESSAGES, WaitTimeSeconds=0
        )
        messages = answer.get("Messages", [])
        if messages:
            entries = [
                {"Id": str(index), "ReceiptHandle": message["ReceiptHandle"]}
                for index, message in enumerate(messages)
            ]
            self._aws.translated("sqs", "delete_message_batch", QueueUrl=self._queue_url, Entries=entries)
        return [name for message in messages for name in _names(message)]


def _names(message: Mapping[str, Any]) -> Iterator[str]:
    """Yield the job of a message. A message that is not such an event is ignored."""
    try:
        name = json.loads(message["Body"])["detail"]["TrainingJobName"]
    except (ValueError, KeyError, TypeError):
        return
    if isinstance(name, str):
        yield name


def find_jobs(prefix: str, jobs_dir: Path, environ: Mapping[str, str]) -> Iterator[TrainingJobRequest]:
    """Find training jobs in the account and region. See `base.FindJobs`. Raises JobError."""
    del jobs_dir  # the jobs do not run on this machine
    with closing(Aws(environ)) as aws:
        rates = RateLimits(SageMakerOptions.from_environ(environ).rates, time.monotonic)
        token: dict[str, str] = {}
        while True:
            wanted = {"NameContains": prefix, "MaxResults": PAGE, **token}
            page = _call(aws, rates, "ListTrainingJobs", "list_training_jobs", wanted)
            for name in (summary["TrainingJobName"] for summary in page["TrainingJobSummaries"]):
                if name.startswith(prefix):
                    job = {"TrainingJobName": name}
                    yield _call(aws, rates, "DescribeTrainingJob", "describe_training_job", job)
            if "NextToken" not in page:
                return
            token = {"NextToken": page["NextToken"]}


def _call(
    aws: Aws, rates: RateLimits, action: str, operation: str, arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """Call within the rate, and again after a throttled call. Raises JobError."""
    while True:
        while not rates.take(action):
            time.sleep(PAUSE_S)
        try:
            answer: dict[str, Any] = aws.translated("sagemaker", operation, **arguments)
        except Throttled:
            rates.note(action, was_throttled=True)
        else:
            rates.note(action, was_throttled=False)
            return answer


class WarmPools:
    """Stores which jobs of this client have a warm pool."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._names: set[str] = set()

    def note(self, request: TrainingJobRequest) -> None:
        if request.get("ResourceConfig", {}).get("KeepAlivePeriodInSeconds"):
            self._names.add(request["TrainingJobName"])

    def note_adopted(self, name: str) -> None:
        """Add a job of an earlier agent, which may have a warm pool."""
        self._names.add(name)

    def release(self) -> None:
        """Release the idle pools of these jobs, which cost as much as running jobs. Never raises JobError."""
        if not self._names:
            return
        try:
            for name in self._idle() & self._names:
                self._aws.translated(
                    "sagemaker",
                    "update_training_job",
                    TrainingJobName=name,
                    ResourceConfig={"KeepAlivePeriodInSeconds": 0},
                )
                log.info("%s: its warm pool was released", name)
        except JobError as err:
            log.warning("warm pools of %s were not released and end at their timeout: %s", self._prefix, err)
        self._names.clear()

    @property
    def _prefix(self) -> str:
        return common_prefix(sorted(self._names))

    def _idle(self) -> set[str]:
        """Return the jobs with an idle pool. Of several jobs that share a pool, only the last has it."""
        names: set[str] = set()
        token = ""  # a page's # nosec B105
        while True:
            more = {"NextToken": token} if token else {}
            answer = self._aws.translated(
                "sagemaker",
                "list_training_jobs",
                NameContains=self._prefix,
                WarmPoolStatusEquals="Available",
                MaxResults=PAGE,
                **more,
            )
            names |= {summary["TrainingJobName"] for summary in answer["TrainingJobSummaries"]}
            token = answer.get("NextToken", "")
            if not token:
                return names


SPEC = BackendSpec(
    open=lambda context: SageMakerBackend(context.environ, context.clock),
    prepare=prepare,
    check_settings=check_place,
    check_request=validate,
    check_python=check_python,
    find_jobs=find_jobs,
    ask_price=ask_price,
    ask_account=ask_account,
    diagnose=diagnose,
    reads_s3=True,
)
