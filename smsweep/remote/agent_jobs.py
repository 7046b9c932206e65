"""The training jobs in which detached agents run: start, status and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from smsweep.aws.client import Aws
from smsweep.aws.errors import code_of
from smsweep.backends.sagemaker.job_poller import is_missing
from smsweep.core.json_documents import (
    DetachedAgentDocument,
)
from smsweep.errors import JobRejected, SmsweepError
from smsweep.remote.record import DetachRecord, all_jobs
from smsweep.store import notes
from smsweep.store.base import Store

ALIVE = ("InProgress", "Stopping")
UNKNOWN = "unknown"


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
    hyperparameters: dict[str, str] = aws.translated(
        "sagemaker", "describe_training_job", TrainingJobName=name
    ).get("HyperParameters", {})
    return hyperparameters


def _billable_s(document: Mapping[str, Any], now: datetime) -> float:
    # Not the type of the stubs, in which these fields are required: SageMaker omits them until they are known.
    if "BillableTimeInSeconds" in document:
        return float(document["BillableTimeInSeconds"])
    started: datetime | None = document.get("TrainingStartTime")
    if started is None:
        return 0.0
    ended: datetime = document.get("TrainingEndTime") or now
    return max(0.0, (ended - started).total_seconds())


def agent_data(record: DetachRecord, store: Store, environ: Mapping[str, str]) -> DetachedAgentDocument:
    """Return the document of a detached agent.

    Args:
        record: The record of the agent in the workspace.
        store: The store of the sweep.
        environ: Environment variables for AWS.

    Returns:
        The current `job` with its `status` and `reason`, the instance `hours` and `usd` of all its jobs, and
        `kept_at`. If AWS cannot be reached, the status is unknown, and `reason` has the error. `rejected` lists
        the latest invalid commands in S3, newest last, each with its `id` and `reason`.
    """
    names = all_jobs(record, notes.AGENT_JOBS.get(store, record.sweep_id))
    rejected: dict[str, str] = notes.REJECTED_COMMANDS.get(store, record.sweep_id)
    document: DetachedAgentDocument = {
        "job": names[-1] if names else "",
        "status": UNKNOWN,
        "reason": "",
        "jobs": len(names),
        "instance_type": record.instance_type,
        "hours": None,
        "usd": None,
        "kept_at": record.uri,
        "rejected": [{"id": id_, "reason": why} for id_, why in rejected.items()],
    }
    try:
        with closing(Aws(environ)) as aws:
            jobs = [describe_agent_job(aws, name) for name in names]
    except SmsweepError as err:
        return {**document, "reason": str(err)}
    hours = total_s(jobs) / 3600
    usd = None if record.per_hour is None else round(hours * record.per_hour, 6)
    last = jobs[-1] if jobs else None
    return {
        **document,
        "status": last.status or "never started" if last else "none",
        "reason": last.reason if last else "",
        "hours": round(hours, 6),
        "usd": usd,
    }
