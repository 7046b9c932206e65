"""Read hyperparameter tuning jobs of SageMaker: their requests and the results of their training jobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from smsweep.aws import request_model
from smsweep.aws.client import Aws
from smsweep.aws.errors import code_of
from smsweep.errors import NotFound

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import type_defs as sagemaker

CREATE = "CreateHyperParameterTuningJob"
OBJECTIVE_METRIC = "ObjectiveMetric"  # name of a metric that SageMaker adds to each training job
PAGE = 100  # API: training jobs per answer
MISSING = ("ResourceNotFound", "ResourceNotFoundException")


def describe_tuning_job(aws: Aws, name: str) -> dict[str, Any]:
    """Return the description of a tuning job. Raises NotFound, or JobError."""
    try:
        return dict(aws.call("sagemaker", "describe_hyper_parameter_tuning_job", HyperParameterTuningJobName=name))
    except ClientError as err:
        if code_of(err) in MISSING:
            where = f"SageMaker in {aws.region}" if aws.region else "SageMaker"
            raise NotFound(f"{name}: {where} has no such tuning job; check the name and the region") from err
        raise aws.error(err, "sagemaker", "describe_hyper_parameter_tuning_job") from err
    except BotoCoreError as err:
        raise aws.error(err, "sagemaker", "describe_hyper_parameter_tuning_job") from err


def as_request(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return the CreateHyperParameterTuningJob request of a description, without the fields of the answer only."""
    shape = request_model.operation(CREATE).input_shape
    assert shape is not None
    request = {name: value for name, value in description.items() if name in shape.members}
    definitions = [
        *([request["TrainingJobDefinition"]] if "TrainingJobDefinition" in request else []),
        *request.get("TrainingJobDefinitions", ()),
    ]
    for definition in definitions:  # without what SageMaker adds to the description
        algorithm = definition.get("AlgorithmSpecification", {})
        if "AlgorithmName" in algorithm:
            algorithm.pop("MetricDefinitions", None)
        if "MetricDefinitions" in algorithm:
            found = algorithm["MetricDefinitions"]
            algorithm["MetricDefinitions"] = [item for item in found if not _is_copy(item, found)]
        if "HyperParameterTuningResourceConfig" in definition:
            definition.pop("ResourceConfig", None)
    return request


def _is_copy(metric: Mapping[str, str], definitions: Sequence[Mapping[str, str]]) -> bool:
    """Return True for SageMaker's second definition of the objective."""
    others = [item["Regex"] for item in definitions if item["Name"] != metric["Name"]]
    return metric["Name"] == OBJECTIVE_METRIC and metric["Regex"] in others


def list_training_jobs(aws: Aws, name: str) -> Iterator[dict[str, Any]]:
    """Yield the summary of each training job of a tuning job, oldest first. Raises JobError."""
    arguments: sagemaker.ListTrainingJobsForHyperParameterTuningJobRequestTypeDef = {
        "HyperParameterTuningJobName": name,
        "MaxResults": PAGE,
        "SortBy": "CreationTime",
        "SortOrder": "Ascending",
    }
    while True:
        page = aws.translated("sagemaker", "list_training_jobs_for_hyper_parameter_tuning_job", **arguments)
        for summary in page["TrainingJobSummaries"]:
            yield dict(summary)
        if "NextToken" not in page:
            return
        arguments["NextToken"] = page["NextToken"]


def final_metrics(aws: Aws, job_name: str) -> dict[str, float]:
    """Return the last value of each metric of a training job. Raises JobError."""
    described = aws.translated("sagemaker", "describe_training_job", TrainingJobName=job_name)
    return {item["MetricName"]: item["Value"] for item in described.get("FinalMetricDataList", ())}
