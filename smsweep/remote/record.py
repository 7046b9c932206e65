"""Records of detached sweeps in the workspace: where the store is, and which jobs are agents."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import BotoCoreError, ClientError

from smsweep.aws.client import Aws
from smsweep.aws.errors import code_of
from smsweep.backends.sagemaker.job_poller import is_missing
from smsweep.errors import JobRejected
from smsweep.util.atomic_file import write_text

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import DescribeTrainingJobResponseTypeDef

FOLDER = "away"  # in the workspace
JOB = "SMSWEEP_AGENT_JOB"  # environment variable of an agent in a training job: name of the job
NAMES = "smsweep-{sweep_id}-agent-{number}"
ALIVE = ("InProgress", "Stopping")


@dataclass(frozen=True, kw_only=True, slots=True)
class DetachRecord:
    """DetachRecord of a detached sweep."""

    sweep_id: str
    uri: str  # s3://BUCKET/PREFIX of the store; "" if the store is a database
    jobs: tuple[str, ...] = ()  # training jobs of its agents, oldest first
    kms_key: str = ""
    instance_type: str = ""  # instance type of the agent
    per_hour: float | None = None  # dollars per hour of that instance; None if unknown


def read_records(workspace_dir: Path) -> dict[str, DetachRecord]:
    """Return the records of a workspace by sweep id."""
    records = {}
    for file in sorted((workspace_dir / FOLDER).glob("*.json")):
        document = json.loads(file.read_text(encoding="utf-8"))
        records[file.stem] = DetachRecord(**{**document, "jobs": tuple(document["jobs"])})
    return records


def write_record(workspace_dir: Path, record: DetachRecord) -> None:
    """Write a record atomically."""
    file = record_path(workspace_dir, record.sweep_id)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_text(file, json.dumps(asdict(record)))


def record_path(workspace_dir: Path, sweep_id: str) -> Path:
    """Return the file of a sweep's record."""
    return workspace_dir / FOLDER / f"{sweep_id}.json"


def has_records(workspace_dir: Path) -> bool:
    """Return True if the workspace has a detached sweep."""
    return any((workspace_dir / FOLDER).glob("*.json"))


def all_jobs(record: DetachRecord, note: Mapping[str, str] | None) -> list[str]:
    """Return the training jobs of a sweep's agents, oldest first.

    Args:
        record: DetachRecord of the sweep.
        note: AGENT_JOBS note of the sweep, or None.
    """
    return list(dict.fromkeys([*(note or {}), *record.jobs]))


def own_job(environ: Mapping[str, str]) -> str:
    """Return the name of the training job that runs this agent; "" if the agent is not in a training job."""
    return environ.get(JOB, "")


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
        response = aws.call("sagemaker", "describe_training_job", TrainingJobName=name)
    except (BotoCoreError, ClientError) as err:
        if isinstance(err, ClientError) and is_missing(err):
            return AgentJob(name=name, status="")
        raise aws.error(err, "sagemaker", "describe_training_job") from err
    document = cast("DescribeTrainingJobResponseTypeDef", response)
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
