"""Simulated SageMaker and CloudWatch Logs of one region. A job is a function of its request and the seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, NoReturn

from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, ReadTimeoutError

from smsweep.aws.errors import translate
from smsweep.backends.sagemaker.rate_limit import LIMITS
from smsweep.core.job import TAG_ATTEMPT, TAG_SWEEP, TAG_TRIAL
from smsweep.runtime.script.records import METRICS, end_record, records
from tools.simulate.world import BEGIN, World

ENDPOINT = "https://simulated.invalid"
LIST_LAG_S = 8.0  # a new job is in lists after this time at the latest
LOG_LAG_S = 10.0  # a line can be read after this time at the latest
GRACE_S = 20.0  # a stopped job ends after this time at the latest
PAGE = 3  # jobs of one page, so that lists have several
EVENTS_A_PAGE = 7

Arguments = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class JobRates:
    """Probabilities of what happens to a job, and the times of jobs in seconds."""

    fails: float = 0.1
    loses_machine: float = 0.1  # InternalServerError
    gets_no_machine: float = 0.05  # CapacityError
    shortest_s: float = 20.0
    longest_s: float = 200.0
    steps: int = 4


@dataclass(slots=True)
class Job:
    """A training job. Times are simulated seconds."""

    name: str
    owner: tuple[str, int, int]  # sweep, trial, attempt
    request: Arguments
    created_s: float
    listed_s: float
    starts_s: float
    ends_s: float
    status: str  # when it ends
    secondary: str
    reason: str
    lines: list[tuple[float, float, str]]  # (written, readable, text)
    points: list[tuple[float, int, float]]  # (written, step, value) that the script reports

    def is_live(self, now_s: float) -> bool:
        return now_s < self.ends_s

    def billable_s(self, now_s: float) -> int:
        """Return the billed seconds so far."""
        return max(0, math.ceil(min(now_s, self.ends_s) - self.starts_s))


@dataclass(slots=True)
class Account:
    """The jobs of one region.

    Args:
        world: The clock and the network.
        region: The region.
        quota: Jobs that can be live at the same time.
        rates: What happens to jobs.
        on_create: Called with each new job.
        written: URI of checkpoints in S3 -> the jobs that wrote them, of all regions. Each step is saved.
    """

    world: World
    region: str
    quota: int
    rates: JobRates
    on_create: Callable[[Job], None]
    written: dict[str, list[Job]] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)  # in the order of creation
    _tokens: dict[str, tuple[float, float]] = field(default_factory=dict)

    def live(self) -> list[Job]:
        return [job for job in self.jobs.values() if job.is_live(self.world.now_s)]

    def handle(self, operation: str, arguments: Arguments) -> dict[str, Any]:
        """Answer a call. Raises ClientError."""
        action = "".join(part.capitalize() for part in operation.split("_"))
        self._count(action)
        answer: dict[str, Any] = getattr(self, f"_{operation}")(arguments)
        return answer

    def _count(self, action: str) -> None:
        limit = LIMITS.get(action)
        if limit is None:
            return
        left, since_s = self._tokens.get(action, (limit, 0.0))
        left = min(limit, left + (self.world.now_s - since_s) * limit)
        if left < 1 - 1e-9:
            _refuse(action, "ThrottlingException", "Rate exceeded")
        self._tokens[action] = (left - 1, self.world.now_s)

    def _create_training_job(self, request: Arguments) -> dict[str, Any]:
        name = request["TrainingJobName"]
        if name in self.jobs:
            _refuse("CreateTrainingJob", "ResourceInUse", f"Training job names must be unique: {self._arn(name)}")
        if (n := len(self.live())) >= self.quota:
            _refuse(
                "CreateTrainingJob",
                "ResourceLimitExceeded",
                "The account-level service limit 'ml.m5.large for training job usage' is "
                f"{self.quota} Instances, with current utilization of {n} Instances and a request delta of "
                "1 Instances.",
            )
        job = self.jobs[name] = self._new_job(name, request)
        self.on_create(job)
        return {"TrainingJobArn": self._arn(name)}

    def _new_job(self, name: str, request: Arguments) -> Job:
        """Return a job with the fate that the seed gives it."""
        tags = {tag["Key"]: tag["Value"] for tag in request["Tags"]}
        owner = (tags[TAG_SWEEP], int(tags[TAG_TRIAL]), int(tags[TAG_ATTEMPT]))
        now_s, rng, rates = self.world.now_s, self.world.rng("job", name), self.rates
        starts_s = now_s + rng.uniform(5, 40)
        limit_s = request["StoppingCondition"]["MaxRuntimeInSeconds"]
        lasts_s = rng.uniform(rates.shortest_s, rates.longest_s)
        status, secondary, reason, code = "Completed", "Completed", "", 0
        fate = rng.random()
        if fate < rates.fails:
            status, secondary, code = "Failed", "Failed", 1
            reason = f"AlgorithmError: ValueError: bad luck {rng.random()}, exit code: 1"
            lasts_s *= rng.random()
        elif fate < rates.fails + rates.loses_machine:
            status, secondary, code = "Failed", "Failed", -1
            reason = "InternalServerError: We encountered an internal error. Please try again."
            lasts_s *= rng.random()
        elif fate < rates.fails + rates.loses_machine + rates.gets_no_machine:
            status, secondary, code = "Failed", "Failed", -1
            reason = "CapacityError: Unable to provision requested ML compute capacity."
            starts_s, lasts_s = now_s + lasts_s, 0.0
        if lasts_s > limit_s:
            lasts_s, status, secondary, code = limit_s, "Stopped", "MaxRuntimeExceeded", 143
        job = Job(
            name=name,
            owner=owner,
            request=request,
            created_s=now_s,
            listed_s=now_s + rng.uniform(0, LIST_LAG_S),
            starts_s=starts_s,
            ends_s=starts_s + lasts_s,
            status=status,
            secondary=secondary,
            reason=reason,
            lines=[],
            points=[],
        )
        uri = str(request.get("CheckpointConfig", {}).get("S3Uri", ""))
        before = self.written.setdefault(uri, []) if uri else []
        first = 1 + max((step for each in before for _, step, _ in each.points), default=-1)
        before.append(job)
        readable_s = 0.0
        for step in range(first, rates.steps if lasts_s else 0):
            at_s = starts_s + lasts_s * (step - first + 1) / (rates.steps - first + 1)
            value = round(rng.uniform(0, 100), 3)
            job.points.append((at_s, step, value))
            readable_s = max(readable_s, at_s + rng.uniform(0, LOG_LAG_S))
            for line in records(METRICS, {"loss": value}, time=BEGIN.timestamp() + at_s, step=step):
                job.lines.append((at_s, readable_s, line))
        if code >= 0 and lasts_s:  # the entrypoint lives until the end
            readable_s = max(readable_s, job.ends_s + rng.uniform(0, LOG_LAG_S))
            job.lines.append((job.ends_s, readable_s, end_record(code)))
        return job

    def _stop_training_job(self, request: Arguments) -> dict[str, Any]:
        job = self._job("StopTrainingJob", request)
        now_s = self.world.now_s
        if not job.is_live(now_s):
            _refuse("StopTrainingJob", "ValidationException", "The request was rejected because the training job "
                    f"is in status {job.status}.")  # fmt: skip
        if job.secondary == "Stopped":
            return {}
        rng = self.world.rng("stop", job.name)
        ends_s = min(job.ends_s, now_s + rng.uniform(0, GRACE_S))
        if ends_s < job.ends_s:
            job.ends_s, job.status, job.secondary, job.reason = ends_s, "Stopped", "Stopped", ""
            job.starts_s = min(job.starts_s, ends_s)
            job.points = [point for point in job.points if point[0] < ends_s]
            job.lines = [line for line in job.lines if line[0] < ends_s]
            if job.starts_s < ends_s:
                readable_s = max([line[1] for line in job.lines] + [ends_s + rng.uniform(0, LOG_LAG_S)])
                job.lines.append((ends_s, readable_s, end_record(143)))
        return {}

    def _describe_training_job(self, request: Arguments) -> dict[str, Any]:
        job, now_s = self._job("DescribeTrainingJob", request), self.world.now_s
        document = {
            "TrainingJobName": job.name,
            "TrainingJobArn": self._arn(job.name),
            "HyperParameters": job.request["HyperParameters"],
            "CreationTime": _at(job.created_s),
            **self._state(job),
            "ResourceConfig": job.request["ResourceConfig"],
        }
        if job.starts_s <= now_s:
            document["TrainingStartTime"] = _at(job.starts_s)
        if not job.is_live(now_s):
            document |= {
                "TrainingEndTime": _at(job.ends_s),
                "FailureReason": job.reason,
                "BillableTimeInSeconds": job.billable_s(now_s),
            }
        return document

    def _state(self, job: Job) -> dict[str, str]:
        now_s = self.world.now_s
        if not job.is_live(now_s):
            return {"TrainingJobStatus": job.status, "SecondaryStatus": job.secondary}
        if job.secondary == "Stopped":
            return {"TrainingJobStatus": "Stopping", "SecondaryStatus": "Stopping"}
        return {
            "TrainingJobStatus": "InProgress",
            "SecondaryStatus": "Training" if job.starts_s <= now_s else "Starting",
        }

    def _list_training_jobs(self, request: Arguments) -> dict[str, Any]:
        now_s = self.world.now_s
        if request.get("WarmPoolStatusEquals"):
            return {"TrainingJobSummaries": []}
        after = request["CreationTimeAfter"]
        listed = [
            job
            for job in self.jobs.values()
            if request["NameContains"] in job.name and job.listed_s <= now_s and _at(job.created_s) > after
        ]
        begin = int(request.get("NextToken") or 0)
        page, rest = listed[begin : begin + PAGE], listed[begin + PAGE :]
        more = {"NextToken": str(begin + PAGE)} if rest else {}
        summaries = [{"TrainingJobName": job.name, **self._state(job)} for job in page]
        return {"TrainingJobSummaries": summaries, **more}

    def _list_tags(self, request: Arguments) -> dict[str, Any]:
        return {"Tags": self.jobs[request["ResourceArn"].rpartition("/")[2]].request["Tags"]}

    def _filter_log_events(self, request: Arguments) -> dict[str, Any]:
        prefix, start_ms, now_s = request["logStreamNamePrefix"], request["startTime"], self.world.now_s
        events = sorted(
            (_ms(written_s), f"{job.name}/algo-1-1", index, line)
            for job in self.jobs.values()
            if f"{job.name}/algo-1-1".startswith(prefix)
            for index, (written_s, readable_s, line) in enumerate(job.lines)
            if readable_s <= now_s and _ms(written_s) >= start_ms
        )
        if token := request.get("nextToken"):  # the next page starts after this event, whatever arrived meanwhile
            at_ms, name, index = token.split(" ")
            events = [event for event in events if event[:3] > (int(at_ms), name, int(index))]
        page = events[:EVENTS_A_PAGE]
        more = {"nextToken": " ".join(map(str, page[-1][:3]))} if len(events) > len(page) else {}
        answer = [{"logStreamName": name, "timestamp": at_ms, "message": text} for at_ms, name, _, text in page]
        return {"events": answer, **more}

    def _job(self, action: str, request: Arguments) -> Job:
        job = self.jobs.get(request["TrainingJobName"])
        if job is None:
            _refuse(action, "ValidationException", "Requested resource not found.")
        return job

    def _arn(self, name: str) -> str:
        return f"arn:aws:sagemaker:{self.region}:123456789012:training-job/{name}"


@dataclass(slots=True)
class Connection:
    """What `smsweep.aws.client.Aws` is to the backend: one client of an account."""

    account: Account
    _skew: timedelta = timedelta(0)

    @property
    def region(self) -> str:
        return self.account.region

    def call(self, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
        world = self.account.world
        answer = world.call(
            f"{operation} {arguments.get('TrainingJobName', '')}".rstrip(),
            lambda: self.account.handle(operation, arguments),
            refusal=lambda: EndpointConnectionError(endpoint_url=ENDPOINT),
            loss=lambda: ReadTimeoutError(endpoint_url=ENDPOINT),
            is_repeated=True,
            # Known limit: a start that arrives after the lease of its agent ended is a job without a trial.
            may_stall=operation != "create_training_job",
        )
        self._skew = world.true_utc() - world.utc()
        return answer

    def translated(self, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
        try:
            return self.call(service, operation, **arguments)
        except (BotoCoreError, ClientError) as err:
            raise self.error(err, service, operation) from err

    def error(self, err: BotoCoreError | ClientError, service: str, operation: str) -> Exception:
        return translate(err, f"{service}:{''.join(part.capitalize() for part in operation.split('_'))}")

    def now(self, clock: Callable[[], float]) -> datetime:
        return datetime.fromtimestamp(clock(), timezone.utc) + self._skew

    def close(self) -> None:
        pass


def _refuse(action: str, code: str, message: str) -> NoReturn:
    answer: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    raise ClientError(answer, action)


def _at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def _ms(seconds: float) -> int:
    return round((BEGIN.timestamp() + seconds) * 1000)
