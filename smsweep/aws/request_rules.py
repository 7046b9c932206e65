"""Rules of CreateTrainingJob that its model does not contain: fields that require or exclude each other."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from smsweep.aws import request_model
from smsweep.aws.request_model import Violation
from smsweep.core.job import DEFAULT_MAX_RUN_S, TrainingJobRequest
from smsweep.errors import JobRejected
from smsweep.secrets.references import env_references, remote_secret_errors

LONGEST_RUN_S = 28 * 86_400
MACHINES = ("InstanceType", "InstanceGroups", "InstancePreferences")
_MACHINE = re.compile(r"ml\.[a-z0-9-]+\.[a-z0-9]+")
MAX_PROBLEMS = 5  # in one message
MAX_VALUES = 8  # of an enum, in a message


def may_be_machine(name: str) -> bool:
    """Return True if a text has the form of an instance type. No list has all types of AWS."""
    return _MACHINE.fullmatch(name) is not None


def broken_rules(request: Mapping[str, Any]) -> Iterator[str]:
    """Yield a message for each rule that a request breaks. It is AWS's message, as far as that is known.

    Args:
        request: A request without violations of the model and without None.
    """
    missing = [
        name for name in ("AlgorithmSpecification", "ResourceConfig", "StoppingCondition") if name not in request
    ]
    yield from (f"{name} is required." for name in missing)  # optional in the model, because of serverless jobs
    if not missing:
        yield from _images(request["AlgorithmSpecification"])
        yield from _machines(request["ResourceConfig"])
        yield from _times(request, request["StoppingCondition"])
        yield from _groups(request, request["ResourceConfig"].get("InstanceGroups", ()))
    yield from _channels(request)
    yield from _twice("tag keys", (tag["Key"] for tag in request.get("Tags", ())))


def _images(algorithm: Mapping[str, Any]) -> Iterator[str]:
    if ("TrainingImage" in algorithm) == ("AlgorithmName" in algorithm):
        yield "Exactly one of TrainingImage and AlgorithmName must be given."


def _machines(resources: Mapping[str, Any]) -> Iterator[str]:
    given = [name for name in MACHINES if name in resources]
    if len(given) != 1:
        yield "ResourceConfig needs one of InstanceType, InstanceGroups and InstancePreferences."
    elif given == ["InstanceGroups"] and "InstanceCount" in resources:
        yield "InstanceCount is not supported with InstanceGroups, which state it for each group."
    counted = [resources, *resources.get("InstanceGroups", ()), *resources.get("InstancePreferences", ())]
    if any(item.get("InstanceCount") == 0 for item in counted):  # valid in the model
        yield "InstanceCount must be greater than 0."
    for name in ("SelectedInstanceType", "SelectedInstanceCount"):
        if name in resources:
            yield f"{name} is not accepted in CreateTrainingJob requests."


def _times(request: Mapping[str, Any], limits: Mapping[str, Any]) -> Iterator[str]:
    longest, run = limits.get("MaxWaitTimeInSeconds"), limits.get("MaxRuntimeInSeconds", DEFAULT_MAX_RUN_S)
    if run > LONGEST_RUN_S:
        yield f"MaxRuntimeInSeconds {run} is more than 28 days ({LONGEST_RUN_S})."
    if not request.get("EnableManagedSpotTraining"):
        if longest is not None:
            yield (
                "Invalid MaxWaitTimeInSeconds. It is only supported when EnableManagedSpotTraining is set to true"
            )
        return
    if longest is None or longest < run:
        yield (
            "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds"
        )
    for name in ("InstancePreferences", "KeepAlivePeriodInSeconds"):
        if request["ResourceConfig"].get(name):
            yield f"{name} is not supported with EnableManagedSpotTraining."


def _groups(request: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    names = [group["InstanceGroupName"] for group in groups]
    yield from _twice("instance group names", names)
    if groups and request["ResourceConfig"].get("KeepAlivePeriodInSeconds"):
        yield "KeepAlivePeriodInSeconds is not supported with InstanceGroups."
    for channel in request.get("InputDataConfig", ()):
        wanted = channel.get("DataSource", {}).get("S3DataSource", {}).get("InstanceGroupNames", ())
        unknown = [name for name in wanted if name not in names]
        if unknown:
            yield f"Channel {channel['ChannelName']}: there are no instance groups {', '.join(unknown)}"


def _channels(request: Mapping[str, Any]) -> Iterator[str]:
    channels = request.get("InputDataConfig", ())
    yield from _twice("channel names", (channel["ChannelName"] for channel in channels))
    if "VpcConfig" not in request:
        for channel in channels:
            if "FileSystemDataSource" in channel.get("DataSource", {}):
                yield f"Channel {channel['ChannelName']} is a file system, which needs VpcConfig."


def _twice(what: str, names: Iterable[str]) -> Iterator[str]:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        yield f"Duplicate {what}: {', '.join(twice)}"


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
