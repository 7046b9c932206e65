"""Says in words for a job.yaml's author where part of a CreateTrainingJob request breaks the API's rules.

The rules themselves are request_model's, which takes a moment to load: import this module only with a request to
check.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from smsweep.aws.request_model import Violation, operation
from smsweep.aws.request_model import violations as all_violations
from smsweep.config_files.document import Path, show, suggest

# What smsweep's own rendering adds to each job, so that a template may lack it.
RENDERED = frozenset(
    {
        ("AlgorithmSpecification", "TrainingInputMode"),
        ("CheckpointConfig", "S3Uri"),
        ("OutputDataConfig", "S3OutputPath"),
    }
)

# What some of the model's patterns ask for, in words.
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
TELLING = ("pattern", "min", "max", "enum")  # of several rules that one value breaks, the first says most


def violations(request: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Yield where a partial request breaks the API's rules, and how. Missing top-level fields are no violation."""
    found = (item for item in all_violations("CreateTrainingJob", request) if not _is_fine_here(item))
    for path, of_value in groupby(found, key=lambda item: item.path):
        yield (
            path,
            _words(min(of_value, key=lambda item: TELLING.index(item.rule) if item.rule in TELLING else -1)),
        )


def unknown_instance_type(name: str) -> bool:
    """Tell whether the installed botocore does not list an instance type; a newer one may."""
    shape: Any = operation("CreateTrainingJob").input_shape
    return name not in shape.members["ResourceConfig"].members["InstanceType"].metadata["enum"]


def _is_fine_here(violation: Violation) -> bool:
    if violation.rule == "missing":
        return len(violation.path) == 1 or violation.path in RENDERED
    if violation.rule == "pattern":  # file:// stands for s3:// where a job runs on this machine
        return isinstance(violation.value, str) and violation.value.startswith("file://")
    return violation.rule == "enum" and violation.shape.name == "TrainingInstanceType"  # a newer API may know it


def _words(violation: Violation) -> str:
    shape, value, rules = violation.shape, violation.value, violation.shape.metadata
    if violation.rule == "missing":
        return "missing; the API needs it here"
    if violation.rule == "unknown":
        members: Any = getattr(shape, "members", {})
        return f"the API has no such field; {suggest(str(violation.path[-1]), members)}"
    if violation.rule == "type":
        return f"expected {TYPES[shape.type_name]}, got {show(value)}"
    if violation.rule == "pattern":
        return f"expected {FORMS.get(shape.name, 'the form ' + rules['pattern'])}, got {show(value)}"
    if violation.rule == "enum":
        return f"the API knows no {show(value)}; {suggest(value, rules['enum'])}"
    size = len(value) if shape.type_name in UNITS else value
    bound = "at least" if violation.rule == "min" else "at most"
    return f"the API takes {bound} {rules[violation.rule]:,}{UNITS.get(shape.type_name, '')}, got {size:,}"
