"""What CreateTrainingJob checks that the model cannot say: fields that need or exclude each other, and data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from smsweep.endpoint import api_error

HasObjects = Callable[[str], bool]  # whether an S3 URI leads to anything


def check(request: Mapping[str, Any], region: str, has_objects: HasObjects) -> None:
    """Raises ApiError (ValidationException) for the first rule broken."""
    _check_parts(request)
    _check_spot(request)
    names = Counter(channel["ChannelName"] for channel in request.get("InputDataConfig", ()))
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise api_error.invalid(f"Duplicate channel names: {', '.join(twice)}")
    for channel in request.get("InputDataConfig", ()):
        uri = channel["DataSource"].get("S3DataSource", {}).get("S3Uri", "")
        if uri and not has_objects(uri):
            bucket = uri.removeprefix("s3://").partition("/")[0]
            raise api_error.invalid(
                f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the '
                f"bucket exists in the selected region ({region}), that objects exist under that S3 prefix, and "
                f'that the role "{request["RoleArn"]}" has "s3:ListBucket" permissions on bucket "{bucket}".'
            )


def _check_parts(request: Mapping[str, Any]) -> None:
    for name in ("AlgorithmSpecification", "ResourceConfig", "StoppingCondition"):
        if name not in request:  # the model lets serverless jobs do without
            raise api_error.invalid(f"{name} is required.")
    algorithm = request["AlgorithmSpecification"]
    if ("TrainingImage" in algorithm) == ("AlgorithmName" in algorithm):
        raise api_error.invalid("Exactly one of TrainingImage and AlgorithmName must be given.")
    resources = request["ResourceConfig"]
    given = {"InstanceType", "InstanceGroups", "InstancePreferences"} & resources.keys()
    if len(given) != 1:
        raise api_error.invalid(
            "ResourceConfig needs one of InstanceType, InstanceGroups and InstancePreferences."
        )
    if "SelectedInstanceType" in resources:
        raise api_error.invalid("SelectedInstanceType is not accepted in CreateTrainingJob requests.")


def _check_spot(request: Mapping[str, Any]) -> None:
    limits = request["StoppingCondition"]
    longest, run = limits.get("MaxWaitTimeInSeconds"), limits.get("MaxRuntimeInSeconds", 86_400)
    if not request.get("EnableManagedSpotTraining"):
        if longest is not None:
            raise api_error.invalid(
                "Invalid MaxWaitTimeInSeconds. It is only supported when EnableManagedSpotTraining is set to true"
            )
        return
    if longest is None or longest < run:
        raise api_error.invalid(
            "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds"
        )
    if "InstancePreferences" in request["ResourceConfig"]:
        raise api_error.invalid("InstancePreferences is not supported with EnableManagedSpotTraining.")
    if request["ResourceConfig"].get("KeepAlivePeriodInSeconds"):
        raise api_error.invalid("KeepAlivePeriodInSeconds is not supported with EnableManagedSpotTraining.")
