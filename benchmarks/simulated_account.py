"""Simulation of SageMaker and CloudWatch for a sweep, on a clock that advances only during sleeps.

Replaces the client that the SageMaker backend calls. Applies the limits of AWS: calls above the rate are
throttled, and jobs above the quota are refused.
"""

from __future__ import annotations

import bisect
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from smsweep.aws.errors import translate
from smsweep.backends.sagemaker.rate_limit import LIMITS
from smsweep.runtime.script.records import METRICS, end_record, records

BEGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)
STARTS_S = 150.0  # from the call to the script's first line: machine, image, data
EVENTS_A_PAGE = 10_000  # API

Arguments = Mapping[str, Any]


@dataclass(slots=True)
class SimulatedJob:
    created_s: float
    ended_s: float
    name: str


@dataclass(slots=True)
class Clock:
    now_s: float = 0.0

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def monotonic(self) -> float:
        return self.now_s

    def time(self) -> float:
        return BEGIN.timestamp() + self.now_s

    def utc(self) -> datetime:
        return BEGIN + timedelta(seconds=self.now_s)


@dataclass(slots=True)
class SimulatedAccount:
    """An account whose job durations have a lognormal distribution. calls: counts by API and outcome."""

    clock: Clock
    quota: int
    mean_s: float
    rng: random.Random
    region: str = "eu-west-1"
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    busy_s: float = 0.0  # used slot seconds, from creation to end of each job
    _jobs: list[SimulatedJob] = field(default_factory=list)  # in creation order
    _by_name: dict[str, SimulatedJob] = field(default_factory=dict)
    _ends: list[float] = field(default_factory=list)  # of live jobs, ascending
    _events: list[tuple[int, str, str]] = field(
        default_factory=list
    )  # (ms, stream, line), ascending, including future lines
    _of_job: dict[str, list[tuple[int, str, str]]] = field(default_factory=dict)
    _tokens: dict[str, tuple[float, float]] = field(default_factory=dict)  # by API: (calls, time)

    def call(self, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
        action = "".join(part.capitalize() for part in operation.split("_"))
        self._count(action)
        answer: dict[str, Any] = getattr(self, f"_{operation}")(arguments)
        self.calls[action, "answered"] += 1
        return answer

    def translated(self, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
        try:
            return self.call(service, operation, **arguments)
        except ClientError as err:
            raise self.error(err, service, operation) from err

    def error(self, err: BotoCoreError | ClientError, service: str, operation: str) -> Exception:
        return translate(err, f"{service}:{operation}")

    def now(self, clock: Callable[[], float]) -> datetime:
        return datetime.fromtimestamp(clock(), timezone.utc)

    def close(self) -> None:
        pass

    def _count(self, action: str) -> None:
        """Use one call of the API's rate, which accumulates for one second at most. Raises ClientError."""
        limit = LIMITS.get(action)
        if limit is None:
            return
        left, since_s = self._tokens.get(action, (limit, 0.0))
        left = min(limit, left + (self.clock.now_s - since_s) * limit)
        if left < 1 - 1e-9:
            self._refuse(action, "ThrottlingException", "Rate exceeded")
        self._tokens[action] = (left - 1, self.clock.now_s)

    def _refuse(self, action: str, code: str, message: str) -> None:
        self.calls[action, code] += 1
        answer: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": 400}}
        raise ClientError(answer, action)

    def _create_training_job(self, request: Arguments) -> dict[str, Any]:
        now_s = self.clock.now_s
        del self._ends[: bisect.bisect_right(self._ends, now_s)]
        if len(self._ends) >= self.quota:
            self._refuse("CreateTrainingJob", "ResourceLimitExceeded", f"The account-level limit is {self.quota}")
        lasts_s = STARTS_S + self.rng.lognormvariate(0, 0.5) / 1.133 * self.mean_s
        job = SimulatedJob(created_s=now_s, ended_s=now_s + lasts_s, name=request["TrainingJobName"])
        self.busy_s += lasts_s
        self._jobs.append(job)
        self._by_name[job.name] = job
        bisect.insort(self._ends, job.ended_s)
        self._write_log(job)
        return {"TrainingJobArn": self._arn(job.name)}

    def _write_log(self, job: SimulatedJob) -> None:
        """Store the log of a job with times: three points, and the last line of the entrypoint."""
        stream = f"{job.name}/algo-1-1"
        script_s = job.ended_s - job.created_s - STARTS_S
        lines = []
        for step in range(3):
            at_s = job.created_s + STARTS_S + script_s * (step + 1) / 4
            (line,) = records(METRICS, {"loss": 1 / (step + 1)}, time=at_s, step=step)
            lines.append((self._ms(at_s), stream, line))
        lines.append((self._ms(job.ended_s), stream, end_record(0)))
        self._of_job[job.name] = lines
        for line_of in lines:
            bisect.insort(self._events, line_of)

    def _list_training_jobs(self, request: Arguments) -> dict[str, Any]:
        after_s = (request["CreationTimeAfter"] - BEGIN).total_seconds()
        begin = int(
            request.get("NextToken") or bisect.bisect_left(self._jobs, after_s, key=lambda job: job.created_s)
        )
        page = self._jobs[begin : begin + request["MaxResults"]]
        end = begin + len(page)
        more = {"NextToken": str(end)} if end < len(self._jobs) else {}
        summaries = [
            {"TrainingJobName": job.name, "TrainingJobStatus": self._status(job), "SecondaryStatus": "Training"}
            for job in page
        ]
        return {"TrainingJobSummaries": summaries, **more}

    def _describe_training_job(self, request: Arguments) -> dict[str, Any]:
        job = self._by_name.get(request["TrainingJobName"])
        if job is None:
            self._refuse("DescribeTrainingJob", "ValidationException", "Requested resource not found.")
        assert job is not None
        return {
            "TrainingJobName": job.name,
            "TrainingJobArn": self._arn(job.name),
            "TrainingJobStatus": self._status(job),
            "SecondaryStatus": self._status(job),
            "BillableTimeInSeconds": round(job.ended_s - job.created_s),
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        }

    def _filter_log_events(self, request: Arguments) -> dict[str, Any]:
        known = self._of_job.get(request["logStreamNamePrefix"].rstrip("/"), self._events)
        begin = bisect.bisect_left(known, (request["startTime"], "", ""))
        end = bisect.bisect_right(known, (self._ms(self.clock.now_s), "~", ""))
        assert end - begin <= EVENTS_A_PAGE, "this page is not simulated"
        return {
            "events": [
                {"logStreamName": stream, "timestamp": at_ms, "message": line}
                for at_ms, stream, line in known[begin:end]
            ]
        }

    def _status(self, job: SimulatedJob) -> str:
        return "Completed" if self.clock.now_s >= job.ended_s else "InProgress"

    def _arn(self, name: str) -> str:
        return f"arn:aws:sagemaker:{self.region}:123456789012:training-job/{name}"

    def _ms(self, seconds: float) -> int:
        return round((BEGIN.timestamp() + seconds) * 1000)
