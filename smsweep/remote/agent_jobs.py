"""The training jobs that agents are: how they are doing, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from smsweep.aws.client import Aws
from smsweep.aws.errors import code_of
from smsweep.backends.sagemaker.job_poller import is_missing
from smsweep.errors import JobRejected

ALIVE = ("InProgress", "Stopping")


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentJob:
    """One training job that is or was an agent."""

    name: str
    status: str  # as SageMaker has it; "" where there is none of that name
    reason: str = ""  # why it failed
    billable_s: float = 0.0  # so far

    @property
    def is_alive(self) -> bool:
        return self.status in ALIVE


def look_at(aws: Aws, name: str, now: datetime | None = None) -> AgentJob:
    """Ask for one job. Raises JobError."""
    try:
        document = aws.call("sagemaker", "describe_training_job", TrainingJobName=name)
    except (BotoCoreError, ClientError) as err:
        if isinstance(err, ClientError) and is_missing(err):
            return AgentJob(name=name, status="")
        raise aws.error(err, "sagemaker", "describe_training_job") from err
    return AgentJob(
        name=name,
        status=document["TrainingJobStatus"],
        reason=document.get("FailureReason", ""),
        billable_s=_billable_s(document, now or datetime.now(timezone.utc)),
    )


def start(aws: Aws, request: dict[str, Any]) -> None:
    """Start an agent's job; one of that name that is there already will do. Raises JobError."""
    try:
        aws.call("sagemaker", "create_training_job", **request)
    except (BotoCoreError, ClientError) as err:
        if isinstance(err, ClientError) and code_of(err) == "ResourceInUse":
            if request["HyperParameters"] == _hyperparameters(aws, request["TrainingJobName"]):
                return  # an earlier call of ours, whose answer got lost
            raise JobRejected(
                f"a training job {request['TrainingJobName']} exists already and is another's; it is left alone"
            ) from err
        raise aws.error(err, "sagemaker", "create_training_job") from err


def total_s(jobs: Sequence[AgentJob]) -> float:
    return sum(job.billable_s for job in jobs)


def _hyperparameters(aws: Aws, name: str) -> dict[str, str]:
    found: dict[str, str] = aws.translated("sagemaker", "describe_training_job", TrainingJobName=name).get(
        "HyperParameters", {}
    )
    return found


def _billable_s(document: dict[str, Any], now: datetime) -> float:
    if "BillableTimeInSeconds" in document:
        return float(document["BillableTimeInSeconds"])
    started: datetime | None = document.get("TrainingStartTime")
    if started is None:
        return 0.0
    ended: datetime = document.get("TrainingEndTime") or now
    return max(0.0, (ended - started).total_seconds())
