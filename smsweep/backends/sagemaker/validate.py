"""A request is held against AWS's own model before it is sent."""

from __future__ import annotations

from itertools import islice

from smsweep import request_model
from smsweep.backends.secret_values import env_references
from smsweep.errors import JobRejected
from smsweep.jobs import TrainingJobRequest
from smsweep.request_model import Violation

MOST = 5  # problems told at once


def validate(request: TrainingJobRequest) -> None:
    """Raises JobRejected, naming each field and its rule, for what the API would refuse."""
    found = [_words(item) for item in islice(request_model.violations("CreateTrainingJob", request), MOST)]
    algorithm, resources = request.get("AlgorithmSpecification", {}), request.get("ResourceConfig", {})
    if not algorithm.get("TrainingImage") and not algorithm.get("AlgorithmName"):
        found.append("no image; give image_uri or framework in job.yaml")
    if not {"InstanceType", "InstanceGroups", "InstancePreferences"} & resources.keys():
        found.append("no machine; give instance_type in job.yaml")
    for channel in request.get("InputDataConfig", ()):
        uri = channel.get("DataSource", {}).get("S3DataSource", {}).get("S3Uri", "")
        if uri.startswith("file://"):
            found.append(f"channel {channel['ChannelName']}: {uri} is on this machine only; give an s3:// URI")
    for name, variable in env_references(request).items():
        found.append(
            f"secret {name}: {variable} is a variable of this machine, which no training job sees; `smsweep auth` "
            "puts its value into Secrets Manager"
        )
    if found:
        raise JobRejected(f"{request.get('TrainingJobName')}: SageMaker would refuse it: " + "; ".join(found))


def _words(violation: Violation) -> str:
    place = ".".join(str(step) for step in violation.path)
    if violation.rule == "missing":
        return f"{place} is missing" + ("; give role in job.yaml" if place == "RoleArn" else "")
    if violation.rule == "unknown":
        return f"{place}: the API has no such field"
    limit = violation.shape.metadata.get(violation.rule, "")
    size = f", has {len(violation.value)}" if violation.rule in ("min", "max") and _is_sized(violation) else ""
    return f"{place}: {violation.rule} {limit}{size}".rstrip()


def _is_sized(violation: Violation) -> bool:
    return isinstance(violation.value, (str, list, tuple, dict))
