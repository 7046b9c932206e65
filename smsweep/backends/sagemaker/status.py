"""The status, results and failure class of a job, read from the answers of SageMaker."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from smsweep.aws.client import Aws
from smsweep.core.failure_kind import CAPACITY, EXTERNAL, INTERNAL, TIMEOUT, classify
from smsweep.core.job import JobResults, JobStatus, TrainingJobRequest
from smsweep.core.outcome import TIMEOUTS
from smsweep.errors import NameTaken

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import DescribeTrainingJobResponseTypeDef

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
CONSOLES = {"aws-cn": "console.amazonaws.cn", "aws-us-gov": "console.amazonaws-us-gov.com"}
AGAIN = ("Interrupted", "Restarting")  # secondary statuses after which the containers start again
LOST = (CAPACITY, INTERNAL)  # failures that the script did not cause
# Start of a FailureReason -> class. Other reasons are failures of the script.
REASONS = (
    (re.compile(r"CapacityError\b"), CAPACITY),
    (re.compile(r"InternalServerError\b"), INTERNAL),
)
_EXIT_CODE = re.compile(r",? ?exit code: (\d+)\s*\Z", re.I)


def from_summary(summary: Mapping[str, Any]) -> JobStatus:
    """Read an item of ListTrainingJobs. It is complete only for a job that has not ended."""
    return JobStatus(
        name=summary["TrainingJobName"],
        status=summary["TrainingJobStatus"],
        secondary_status=summary.get("SecondaryStatus", ""),
    )


def from_description(document: DescribeTrainingJobResponseTypeDef) -> JobStatus:
    """Read an answer of DescribeTrainingJob."""
    status, reason = document["TrainingJobStatus"], document.get("FailureReason", "")
    is_over = status in ("Completed", "Failed", "Stopped")
    failure = failure_class(document) if is_over else ""
    return JobStatus(
        name=document["TrainingJobName"],
        status=status,
        secondary_status=document.get("SecondaryStatus", ""),
        failure_reason=short_reason(reason),
        exit_code=0 if status == "Completed" else exit_code(reason),
        is_lost=failure in LOST,
        started_at=document.get("TrainingStartTime"),
        ended_at=document.get("TrainingEndTime"),
        failure_class=failure,
        results=results(document) if is_over else None,
    )


def deleted(name: str) -> JobStatus:
    """Return the status of a job that was deleted."""
    return JobStatus(
        name=name,
        status="Stopped",
        secondary_status="Stopped",
        failure_reason="its job was deleted from outside",
        failure_class=EXTERNAL,
    )


def results(document: DescribeTrainingJobResponseTypeDef) -> JobResults:
    """Return the cost and the results of an ended job."""
    resources, name = document.get("ResourceConfig", {}), document["TrainingJobName"]
    groups = resources.get("InstanceGroups", ())
    base = document.get("OutputDataConfig", {}).get("S3OutputPath", "").rstrip("/")
    is_packed = document.get("OutputDataConfig", {}).get("CompressionType") != "NONE"
    return JobResults(
        billable_s=document.get("BillableTimeInSeconds"),
        instance_type=resources.get("SelectedInstanceType")
        or resources.get("InstanceType")
        or ",".join(group["InstanceType"] for group in groups),
        instance_count=resources.get("SelectedInstanceCount")
        or resources.get("InstanceCount")
        or sum(group["InstanceCount"] for group in groups)
        or 1,
        n_runs=1 + sum(step["Status"] in AGAIN for step in document.get("SecondaryStatusTransitions", ())),
        model_uri=document.get("ModelArtifacts", {}).get("S3ModelArtifacts", ""),
        output_uri=f"{base}/{name}/output/{'output.tar.gz' if is_packed else 'data/'}" if base else "",
        log_url=log_url(document["TrainingJobArn"], name),
        final_metrics={item["MetricName"]: item["Value"] for item in document.get("FinalMetricDataList", ())},
    )


def log_url(arn: str, name: str) -> str:
    """Return the CloudWatch page with a job's log."""
    _, partition, _, region, *_ = arn.split(":")
    host = CONSOLES.get(partition, "console.aws.amazon.com")
    # The console quotes twice, and uses $ instead of %.
    group = quote(quote(LOG_GROUP, safe=""), safe="").replace("%", "$")
    stream = quote(quote(f"{name}/", safe=""), safe="").replace("%", "$")
    return (
        f"https://{region}.{host}/cloudwatch/home?region={region}#logsV2:log-groups/log-group/{group}"
        f"$3FlogStreamNameFilter$3D{stream}"
    )


def adopt(aws: Aws, request: TrainingJobRequest) -> JobStatus:
    """Return the status of the existing job with the request's name, if the same request created it.

    An earlier call succeeded, but its answer was lost. The tags and the hyperparameters identify the request: they
    contain sweep, trial, attempt and params.

    Raises:
        NameTaken: If another request created the job.
        JobError: If AWS does not answer.
    """
    name = request["TrainingJobName"]
    document = aws.translated("sagemaker", "describe_training_job", TrainingJobName=name)
    arn = document["TrainingJobArn"]
    tags = _tags(aws.translated("sagemaker", "list_tags", ResourceArn=arn, MaxResults=50))
    wanted = _tags(request)
    is_ours = wanted.items() <= tags.items() and document.get("HyperParameters", {}) == request["HyperParameters"]
    if not is_ours:
        raise NameTaken(
            f"training job {name} exists already and does not belong to this trial ({arn}); it is not changed. "
            "Check whether the store was copied, or the sweep runs from two stores"
        )
    return from_description(document)


def _tags(answer: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in answer.get("Tags", ())}


def failure_class(document: Mapping[str, Any]) -> str:
    """Return the failure class of an ended job; "" without failure. document: DescribeTrainingJob's answer."""
    if document.get("SecondaryStatus") in TIMEOUTS:
        return TIMEOUT
    if document["TrainingJobStatus"] != "Failed":
        return ""
    reason = document.get("FailureReason", "")
    for beginning, kind in REASONS:
        if beginning.match(reason):
            return kind
    return classify(short_reason(reason), exit_code(reason))


def exit_code(reason: str) -> int | None:
    match = _EXIT_CODE.search(reason)
    return int(match[1]) if match else None


def short_reason(reason: str) -> str:
    """Return a FailureReason without SageMaker's additions to output/failure, or else the exit code."""
    code = exit_code(reason)
    words = re.sub(r"\AAlgorithmError:\s*", "", _EXIT_CODE.sub("", reason))
    return words if words or code is None else f"exit code {code}"
