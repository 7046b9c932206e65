"""Documents of the API and of events that describe a job. Times are seconds since the epoch."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from smsweep.core.job import DEFAULT_MAX_RUN_S
from smsweep.emulator.jobs.job import Job

# Fields of a job in EventBridge events, besides Tags. Source: the example event in the AWS documentation.
EVENT_FIELDS = (
    "TrainingJobName",
    "TrainingJobArn",
    "TrainingJobStatus",
    "SecondaryStatus",
    "FailureReason",
    "HyperParameters",
    "AlgorithmSpecification",
    "RoleArn",
    "InputDataConfig",
    "OutputDataConfig",
    "ResourceConfig",
    "VpcConfig",
    "StoppingCondition",
    "CreationTime",
    "TrainingStartTime",
    "TrainingEndTime",
    "LastModifiedTime",
    "SecondaryStatusTransitions",
    "FinalMetricDataList",
    "EnableManagedSpotTraining",
    "CheckpointConfig",
)


def description(job: Job) -> dict[str, Any]:
    """Return the response of DescribeTrainingJob. It is a copy, which later changes of the job do not affect."""
    document = {
        **job.request,
        "TrainingJobArn": job.arn,
        "TrainingJobStatus": job.status,
        "SecondaryStatus": job.secondary_status,
        "CreationTime": job.created_at,
        "LastModifiedTime": job.modified_at,
        "SecondaryStatusTransitions": job.transitions,
        "ModelArtifacts": {"S3ModelArtifacts": model_uri(job.request)},
        # SageMaker adds these fields to the request's, and Estimator.attach of SDK 2.x needs them.
        "OutputDataConfig": {"KmsKeyId": "", **job.request["OutputDataConfig"]},
        "StoppingCondition": {
            "MaxRuntimeInSeconds": DEFAULT_MAX_RUN_S,
            **job.request.get("StoppingCondition", {}),
        },
    }
    for name in ("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining"):
        document.setdefault(name, False)
    optional = {
        "TuningJobArn": job.tuning_job_arn,
        "FailureReason": job.failure_reason,
        "TrainingStartTime": job.started_at,
        "TrainingEndTime": job.ended_at,
        "WarmPoolStatus": job.warm_pool,
        "FinalMetricDataList": [
            {"MetricName": name, "Value": value, "Timestamp": at}
            for name, (value, at) in job.final_metrics.items()
        ],
    }
    if job.is_terminal and job.started_at is not None:
        optional |= {"TrainingTimeInSeconds": job.training_s, "BillableTimeInSeconds": job.billable_s}
    return copy.deepcopy({**document, **{name: value for name, value in optional.items() if value}})


def summary(job: Job) -> dict[str, Any]:
    """Return the summary of a job in ListTrainingJobs."""
    document = {
        "TrainingJobName": job.name,
        "TrainingJobArn": job.arn,
        "CreationTime": job.created_at,
        "TrainingEndTime": job.ended_at,
        "LastModifiedTime": job.modified_at,
        "TrainingJobStatus": job.status,
        "SecondaryStatus": job.secondary_status,
        "WarmPoolStatus": dict(job.warm_pool),
    }
    return {name: value for name, value in document.items() if value}


def search_record(job: Job) -> dict[str, Any]:
    """Return the record of a job in Search: the description and the tags."""
    return {**description(job), "Tags": tag_list(job.tags)}


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Return tags as the API lists them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def model_uri(request: Mapping[str, Any]) -> str:
    """Return the S3 URI of the model artifacts of a job."""
    output = request["OutputDataConfig"]
    suffix = "/" if output.get("CompressionType") == "NONE" else ".tar.gz"
    return f"{output['S3OutputPath'].rstrip('/')}/{request['TrainingJobName']}/output/model{suffix}"
