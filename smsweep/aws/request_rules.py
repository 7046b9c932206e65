"""Rules of CreateTrainingJob that its model does not contain: fields that require or exclude each other."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from smsweep.core.job import DEFAULT_MAX_RUN_S
from smsweep.core.regex_syntax import why_invalid

LONGEST_RUN_S = 28 * 86_400
MACHINES = ("InstanceType", "InstanceGroups", "InstancePreferences")
_JAVA_CLASS = re.compile(r"\\[pP]\{\w+\}")
_JAVA_GROUP = re.compile(r"\(\?<(?![=!])")
_MACHINE = re.compile(r"ml\.[a-z0-9-]+\.[a-z0-9]+")


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
    for metric in algorithm.get("MetricDefinitions", ()):
        # Names of groups and of characters in Java's syntax are valid on SageMaker.
        reason = why_invalid(_JAVA_CLASS.sub(r"\\w", _JAVA_GROUP.sub("(?P<", metric["Regex"])))
        if reason:
            yield f"Invalid regex {metric['Regex']!r} of metric {metric['Name']!r}: {reason}"


def _machines(resources: Mapping[str, Any]) -> Iterator[str]:
    fields = [name for name in MACHINES if name in resources]
    if len(fields) != 1:
        yield "ResourceConfig needs one of InstanceType, InstanceGroups and InstancePreferences."
    elif fields == ["InstanceGroups"] and "InstanceCount" in resources:
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
