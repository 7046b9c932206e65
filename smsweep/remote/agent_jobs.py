"""Training jobs that run agents: start, status and billable time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    """A training job that runs or ran an agent."""

    name: str
    status: str  # status in SageMaker; "" if the job does not exist
    reason: str = ""  # FailureReason
    billable_s: float = 0.0  # until now

    @property
    def is_alive(self) -> bool:
        """True if the job has not ended."""
        return self.status in ALIVE


def describe_agent_job(aws: Aws, name: str, now: datetime | None = None) -> AgentJob:
    """Return the status of a job.

    Args:
        aws: Access to AWS.
        name: Name of the training job.
        now: Current time, for the billable time of a running job.

    Raises:
        JobError: If SageMaker does not respond, or denies the call.
    """
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
    """Start the training job of an agent. A job with the same name and hyperparameters counts as started.

    Args:
        aws: Access to AWS.
        request: CreateTrainingJob request.

    Raises:
        JobRejected: If another job has this name.
        JobError: If SageMaker does not start the job.
    """
    try:
        aws.call("sagemaker", "create_training_job", **request)
    except (BotoCoreError, ClientError) as err:
        if isinstance(err, ClientError) and code_of(err) == "ResourceInUse":
            if request["HyperParameters"] == _hyperparameters(aws, request["TrainingJobName"]):
                return  # an earlier call, whose response was lost
            raise JobRejected(
                f"training job {request['TrainingJobName']} exists and is not an agent of this sweep; delete it"
            ) from err
        raise aws.error(err, "sagemaker", "create_training_job") from err


def total_s(jobs: Sequence[AgentJob]) -> float:
    """Return the billable seconds of all jobs."""
    return sum(job.billable_s for job in jobs)


def _hyperparameters(aws: Aws, name: str) -> dict[str, str]:
    found: dict[str, str] = aws.translated("sagemaker", "describe_training_job", TrainingJobName=name).get(
        "HyperParameters", {}
    )
    return found


def _billable_s(document: Mapping[str, Any], now: datetime) -> float:
    # Not the type of the stubs, in which these fields are required: SageMaker omits them until they are known.
    if "BillableTimeInSeconds" in document:
        return float(document["BillableTimeInSeconds"])
    started: datetime | None = document.get("TrainingStartTime")
    if started is None:
        return 0.0
    ended: datetime = document.get("TrainingEndTime") or now
    return max(0.0, (ended - started).total_seconds())
