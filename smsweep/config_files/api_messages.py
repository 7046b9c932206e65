"""Explain which rules of the CreateTrainingJob API a job.yaml violates.

The rules are in aws/request_model.py, which is slow to load: import this module only if there is a request to
check.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from smsweep.aws.request_model import Violation, operation
from smsweep.aws.request_model import violations as all_violations
from smsweep.config_files.document import Path, show, suggest

# Fields that smsweep adds to each job, so that a template may omit them.
RENDERED = frozenset(
    {
        ("AlgorithmSpecification", "TrainingInputMode"),
        ("CheckpointConfig", "S3Uri"),
        ("OutputDataConfig", "S3OutputPath"),
    }
)

# Descriptions of the forms that some of the model's patterns require.
FORMS = {
    "RoleArn": "a whole ARN, arn:aws:iam::123456789012:role/name",
    "ChannelName": "letters, digits and . - _",
    "TrainingEnvironmentKey": "a variable's name of letters, digits and _",
    "TagKey": "letters, digits, spaces and _ . : / = + - @",
    "TagValue": "letters, digits, spaces and _ . : / = + - @",
    "S3Uri": "s3://bucket/prefix",
    "SubnetId": "an id such as subnet-0a1b2c3d",
    "SecurityGroupId": "an id such as sg-0a1b2c3d",
    "KmsKeyId": "a key's id, ARN or alias",
}
TYPES = {
    "structure": "a mapping",
    "map": "a mapping",
    "list": "a list",
    "string": "text",
    "boolean": "true or false",
    "integer": "a whole number",
    "long": "a whole number",
    "float": "a number",
    "double": "a number",
}
UNITS = {"string": " characters", "list": " items", "map": " entries"}
PRECEDENCE = ("pattern", "min", "max", "enum")  # of several violated rules, the first is the most specific


def violations(request: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Yield path and message of each violation in a partial request. Missing top-level fields are allowed."""
    problems = (item for item in all_violations("CreateTrainingJob", request) if not _is_allowed(item))
    for path, of_value in groupby(problems, key=lambda item: item.path):
        yield (
            path,
            _message(
                min(of_value, key=lambda item: PRECEDENCE.index(item.rule) if item.rule in PRECEDENCE else -1)
            ),
        )


def unknown_instance_type(name: str) -> bool:
    """Return True if the installed botocore does not list an instance type. A newer botocore may list it."""
    shape: Any = operation("CreateTrainingJob").input_shape
    return name not in shape.members["ResourceConfig"].members["InstanceType"].metadata["enum"]


def _is_allowed(violation: Violation) -> bool:
    if violation.rule == "missing":
        return len(violation.path) == 1 or violation.path in RENDERED
    if violation.rule == "pattern":  # file:// replaces s3:// in jobs on this machine
        return isinstance(violation.value, str) and violation.value.startswith("file://")
    return violation.rule == "enum" and violation.shape.name == "TrainingInstanceType"  # a newer API may have it


def _message(violation: Violation) -> str:
    shape, value, rules = violation.shape, violation.value, violation.shape.metadata
    if violation.rule == "missing":
        return "missing; the API requires it"
    if violation.rule == "unknown":
        members: Any = getattr(shape, "members", {})
        return f"the API has no such field; {suggest(str(violation.path[-1]), members)}"
    if violation.rule == "type":
        return f"expected {TYPES[shape.type_name]}, got {show(value)}"
    if violation.rule == "pattern":
        return f"expected {FORMS.get(shape.name, 'the form ' + rules['pattern'])}, got {show(value)}"
    if violation.rule == "enum":
        return f"the API has no value {show(value)}; {suggest(value, rules['enum'])}"
    size = len(value) if shape.type_name in UNITS else value
    bound = "at least" if violation.rule == "min" else "at most"
    return f"the API accepts {bound} {rules[violation.rule]:,}{UNITS.get(shape.type_name, '')}, got {size:,}"
