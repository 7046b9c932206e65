"""Check a request against AWS's model before it is sent."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from itertools import islice
from typing import Any

from smsweep.aws import request_model
from smsweep.aws.request_model import Violation
from smsweep.aws.request_rules import broken_rules, may_be_machine
from smsweep.core.job import TrainingJobRequest
from smsweep.errors import JobRejected
from smsweep.secrets.references import env_references, remote_secret_errors

MAX_PROBLEMS = 5  # in one message
MAX_VALUES = 8  # of an enum, in a message


def validate(request: TrainingJobRequest) -> None:
    """Raise JobRejected if the API refuses the request. The message names each field and its rule."""
    violations = request_model.violations("CreateTrainingJob", request)
    found = [_words(item) for item in islice((item for item in violations if not _is_new(item)), MAX_PROBLEMS)]
    algorithm, resources = request.get("AlgorithmSpecification", {}), request.get("ResourceConfig", {})
    if not algorithm.get("TrainingImage") and not algorithm.get("AlgorithmName"):
        found.append("no image; give image_uri or framework in job.yaml")
    if not {"InstanceType", "InstanceGroups", "InstancePreferences"} & resources.keys():
        found.append("no machine; give instance_type in job.yaml")
    for channel in request.get("InputDataConfig", ()):
        uri = channel.get("DataSource", {}).get("S3DataSource", {}).get("S3Uri", "")
        if uri.startswith("file://"):
            found.append(f"channel {channel['ChannelName']}: {uri} is on this machine only; give an s3:// URI")
    found += remote_secret_errors(env_references(request))
    if not found:  # the rules require a request without violations
        found += broken_rules(request)
    if found:
        raise JobRejected(f"{request.get('TrainingJobName')}: SageMaker would refuse it: " + "; ".join(found))


def _words(violation: Violation) -> str:
    place = ".".join(str(step) for step in violation.path)
    if violation.rule == "missing":
        return f"{place} is missing" + ("; give role in job.yaml" if place == "RoleArn" else "")
    if violation.rule == "unknown":
        return f"{place}: the API has no such field"
    limit: Any = violation.shape.metadata.get(violation.rule, "")
    if violation.rule == "enum":
        return f"{place}: the API knows no {violation.value!r}{_instead(str(violation.value), limit)}"
    size = f", has {len(violation.value)}" if violation.rule in ("min", "max") and _is_sized(violation) else ""
    return f"{place}: {violation.rule} {limit}{size}".rstrip()


def _is_sized(violation: Violation) -> bool:
    return isinstance(violation.value, (str, list, tuple, dict))


def _instead(value: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(value, known, n=1)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; it knows {', '.join(known)}" if len(known) <= MAX_VALUES else ""


def _is_new(violation: Violation) -> bool:
    """Return True if the value can be an instance type of a newer model."""
    is_type = violation.rule == "enum" and violation.shape.name == "TrainingInstanceType"
    return is_type and may_be_machine(violation.value)
