"""Documents of the API and of events that describe a job and its metrics. Times are seconds since the epoch."""

from __future__ import annotations

import copy
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from smsweep.core.job import DEFAULT_MAX_RUN_S
from smsweep.emulator import api_error
from smsweep.emulator.jobs.builtin_algorithms import described_algorithm
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

GET_METRICS = "BatchGetMetrics"
PERIODS_S = {"OneMinute": 60, "FiveMinute": 300, "OneHour": 3_600}
BY_STEP = "IterationNumber"  # a period, and a type of the x-axis
Points = Sequence[tuple[float, float]]  # (seconds since the epoch, value)
STATISTICS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "Min": min,
    "Max": max,
    "Avg": statistics.fmean,
    "Count": len,
    "StdDev": statistics.pstdev,
    "Last": lambda values: values[-1],
}


def description(job: Job) -> dict[str, Any]:
    """Return the response of DescribeTrainingJob. It is a copy, which later changes of the job do not affect."""
    document = {
        **job.request,
        "AlgorithmSpecification": described_algorithm(job.request["AlgorithmSpecification"]),
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


def tag_map(tags: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return the tags of a request by key. Raises ApiError for a reserved key, and for a duplicate one."""
    if any(tag["Key"].lower().startswith("aws:") for tag in tags):
        raise api_error.reserved_tag()
    duplicates = [key for key, count in Counter(tag["Key"] for tag in tags).items() if count > 1]
    if duplicates:
        raise api_error.invalid(f"Duplicate tag keys: {', '.join(duplicates)}")
    return {tag["Key"]: tag["Value"] for tag in tags}


def model_uri(request: Mapping[str, Any]) -> str:
    """Return the S3 URI of the model artifacts of a job."""
    output = request["OutputDataConfig"]
    suffix = "/" if output.get("CompressionType") == "NONE" else ".tar.gz"
    return f"{output['S3OutputPath'].rstrip('/')}/{request['TrainingJobName']}/output/model{suffix}"


def get_metrics(
    request: Mapping[str, Any], find_job: Callable[[str], Job | None], points_of: Callable[[Job, str], Points]
) -> dict[str, Any]:
    """Return the response of BatchGetMetrics.

    Args:
        request: Parameters of the call.
        find_job: Returns the job with an ARN, or None.
        points_of: Returns the points of a job's metric, in order.
    """
    return {
        "MetricQueryResults": [_metric_values(query, find_job, points_of) for query in request["MetricQueries"]]
    }


def _metric_values(
    query: Mapping[str, Any], find_job: Callable[[str], Job | None], points_of: Callable[[Job, str], Points]
) -> dict[str, Any]:
    job = find_job(query["ResourceArn"])
    if job is None:
        message = (
            f"No training job has the ARN {query['ResourceArn']}; the emulator has metrics of training jobs only"
        )
        return {"Status": "ValidationError", "Message": message, "XAxisValues": [], "MetricValues": []}
    windows: dict[int, list[float]] = {}  # x -> values, in order
    for step, (at, value) in enumerate(points_of(job, query["MetricName"])):
        by_step = query["XAxisType"] == BY_STEP or query["Period"] == BY_STEP
        x = step if by_step else int(at) // PERIODS_S[query["Period"]] * PERIODS_S[query["Period"]]
        if query.get("Start", x) <= x <= query.get("End", x):
            windows.setdefault(x, []).append(value)
    of_window = STATISTICS[query["MetricStat"]]
    return {
        "Status": "Complete",
        "XAxisValues": list(windows),
        "MetricValues": [float(of_window(values)) for values in windows.values()],
    }
