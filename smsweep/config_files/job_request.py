"""Convert the estimator's arguments to fields of a CreateTrainingJob request, and map fields back to keys."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any
from urllib.parse import unquote

from smsweep.config_files.document import Path
from smsweep.config_files.job_models import InputSection, JobSection
from smsweep.core.job import DEFAULT_MAX_RUN_S

# key of job.yaml -> path of its value in the request
PLACES: dict[str, tuple[str, ...]] = {
    "image_uri": ("AlgorithmSpecification", "TrainingImage"),
    "input_mode": ("AlgorithmSpecification", "TrainingInputMode"),
    "enable_sagemaker_metrics": ("AlgorithmSpecification", "EnableSageMakerMetricsTimeSeries"),
    "metric_definitions": ("AlgorithmSpecification", "MetricDefinitions"),
    "role": ("RoleArn",),
    "instance_type": ("ResourceConfig", "InstanceType"),
    "instance_count": ("ResourceConfig", "InstanceCount"),
    "instance_groups": ("ResourceConfig", "InstanceGroups"),
    "volume_size": ("ResourceConfig", "VolumeSizeInGB"),
    "volume_kms_key": ("ResourceConfig", "VolumeKmsKeyId"),
    "keep_alive_period_in_seconds": ("ResourceConfig", "KeepAlivePeriodInSeconds"),
    "training_plan": ("ResourceConfig", "TrainingPlanArn"),
    "max_run": ("StoppingCondition", "MaxRuntimeInSeconds"),
    "max_wait": ("StoppingCondition", "MaxWaitTimeInSeconds"),
    "use_spot_instances": ("EnableManagedSpotTraining",),
    "max_retry_attempts": ("RetryStrategy", "MaximumRetryAttempts"),
    "checkpoint_s3_uri": ("CheckpointConfig", "S3Uri"),
    "checkpoint_local_path": ("CheckpointConfig", "LocalPath"),
    "inputs": ("InputDataConfig",),
    "output_path": ("OutputDataConfig", "S3OutputPath"),
    "output_kms_key": ("OutputDataConfig", "KmsKeyId"),
    "disable_output_compression": ("OutputDataConfig", "CompressionType"),
    "environment": ("Environment",),
    "tags": ("Tags",),
    "subnets": ("VpcConfig", "Subnets"),
    "security_group_ids": ("VpcConfig", "SecurityGroupIds"),
    "enable_network_isolation": ("EnableNetworkIsolation",),
    "enable_remote_debug": ("RemoteDebugConfig", "EnableRemoteDebug"),
    "enable_session_tag_chaining": ("SessionChainingConfig", "EnableSessionTagChaining"),
    "enable_infra_check": ("InfraCheckConfig", "EnableInfraCheck"),
    "training_repository_access_mode": (
        "AlgorithmSpecification",
        "TrainingImageConfig",
        "TrainingRepositoryAccessMode",
    ),
    "training_repository_credentials_provider_arn": (
        "AlgorithmSpecification",
        "TrainingImageConfig",
        "TrainingRepositoryAuthConfig",
        "TrainingRepositoryCredentialsProviderArn",
    ),
    "encrypt_inter_container_traffic": ("EnableInterContainerTrafficEncryption",),
}

OWN_PLACES = (
    "checkpoint_s3_uri",
    "output_path",
)  # where a job stores its files: s3://, or file:// on this machine

# Keys whose value has the same structure in the request.
SAME_SHAPE = ("environment", "subnets", "security_group_ids", "metric_definitions")

DEFAULT_VOLUME_GB = 30  # as in the SDK


def build_request(job: JobSection, folder: FilePath) -> dict[str, Any]:
    """Return the request for the job's keys, with the raw fields of `request:` laid over it.

    Args:
        job: The keys of job.yaml.
        folder: Base of relative file:// paths.
    """
    request: dict[str, Any] = {}
    for key, place in PLACES.items():
        value = getattr(job, key)
        if value is not None:
            _put(request, place, _api_value(key, value, folder))
    resources = request.get("ResourceConfig", {})
    if "InstanceType" in resources:
        resources.setdefault("InstanceCount", 1)
    if resources:
        resources.setdefault("VolumeSizeInGB", DEFAULT_VOLUME_GB)
    if "StoppingCondition" in request:
        request["StoppingCondition"].setdefault("MaxRuntimeInSeconds", DEFAULT_MAX_RUN_S)
    return overlay(request, job.request or {})


def key_of(place: Path, job: JobSection) -> Path:
    """Return the path in job.yaml of the value at a path of the request."""
    if _exists(job.request, place):
        return ("request", *place)
    for key, start in PLACES.items():
        if place[: len(start)] == start:
            rest = place[len(start) :]
            names = {"inputs": job.inputs, "tags": job.tags}.get(key)
            if names and rest and isinstance(rest[0], int):  # a list in the request, a mapping in job.yaml
                return (key, list(names)[rest[0]])
            return (key, *rest) if key in SAME_SHAPE else (key,)
    return ("request", *place)


def overlay(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """Return base with top laid over it: mappings are merged, null removes a key, other values are replaced."""
    merged = dict(base)
    for key, value in top.items():
        below = merged.pop(key, None)
        if isinstance(value, Mapping):
            merged[key] = overlay(below if isinstance(below, Mapping) else {}, value)
        elif value is not None:
            merged[key] = value
    return merged


def home_expanded(path: str) -> str:
    """Return the path with `~` replaced by the home folder; unchanged if there is no such user."""
    return os.path.expanduser(path)  # noqa: PTH111 - pathlib raises if there is no home folder


def local_path(uri: str, folder: FilePath) -> FilePath:
    """Return the path of a file:// URI, relative to folder.

    The text is used without decoding. %20 and the like are decoded only if the undecoded path does not exist and
    the decoded path does.
    """
    text = uri.removeprefix("file://")
    path, decoded = ((folder / home_expanded(each)).absolute() for each in (text, unquote(text)))
    return decoded if decoded.exists() and not path.exists() else path


def absolute_uri(uri: str, folder: FilePath) -> str:
    """Return a URI; a file:// URI becomes absolute."""
    return local_path(uri, folder).as_uri() if uri.startswith("file://") else uri


def _api_value(key: str, value: Any, folder: FilePath) -> Any:
    if key in OWN_PLACES:
        return absolute_uri(value, folder)
    if key == "inputs":
        return [_channel(name, channel, folder) for name, channel in value.items()]
    if key == "tags":
        return [{"Key": name, "Value": text} for name, text in value.items()]
    if key == "instance_groups":
        return [
            {
                "InstanceGroupName": group.instance_group_name,
                "InstanceType": group.instance_type,
                "InstanceCount": group.instance_count,
            }
            for group in value
        ]
    if key == "metric_definitions":
        return [{"Name": definition.name, "Regex": definition.regex} for definition in value]
    if key == "disable_output_compression":
        return "NONE" if value else "GZIP"
    return value


def _channel(name: str, channel: InputSection, folder: FilePath) -> dict[str, Any]:
    fields = {
        "ChannelName": name,
        "DataSource": _on_file_system(channel) if channel.file_system_id else _in_s3(channel, folder),
        "ContentType": channel.content_type,
        "CompressionType": channel.compression,
        "RecordWrapperType": channel.record_wrapping,
        "InputMode": channel.input_mode,
        "ShuffleConfig": None if channel.shuffle_seed is None else {"Seed": channel.shuffle_seed},
    }
    return _without_none(fields)


def _in_s3(channel: InputSection, folder: FilePath) -> dict[str, Any]:
    source = {
        "S3DataType": channel.s3_data_type,
        "S3Uri": absolute_uri(channel.s3_uri or "", folder),
        "S3DataDistributionType": channel.distribution,
        "AttributeNames": channel.attribute_names,
        "InstanceGroupNames": channel.instance_groups,
    }
    return {"S3DataSource": _without_none(source)}


def _on_file_system(channel: InputSection) -> dict[str, Any]:
    source = {
        "FileSystemId": channel.file_system_id,
        "FileSystemType": channel.file_system_type,
        "DirectoryPath": channel.directory_path,
        "FileSystemAccessMode": channel.file_system_access_mode,
    }
    return {"FileSystemDataSource": source}


def _without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _put(request: dict[str, Any], place: tuple[str, ...], value: Any) -> None:
    for name in place[:-1]:
        request = request.setdefault(name, {})
    request[place[-1]] = value


def _exists(data: Any, place: Path) -> bool:
    for step in place:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return False
    return bool(place)
