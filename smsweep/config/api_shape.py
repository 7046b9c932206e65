"""Holds part of a CreateTrainingJob request against botocore's model of the API.

botocore itself checks only types and minimum lengths before it sends a request; the API checks the rest, after
the source was uploaded. Loading the model takes a moment: import this module only with a request to check.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, ServiceModel, Shape, StructureShape

from smsweep.config.document import Path, show, suggest

# What smsweep's own rendering adds to each job, so that a template may lack it.
RENDERED = frozenset(
    {
        ("AlgorithmSpecification", "TrainingInputMode"),
        ("CheckpointConfig", "S3Uri"),
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

# Java's character classes in the model's patterns, as near as Python's re has them.
_CLASSES = {r"\p{L}\p{Z}\p{N}": r"\w\s", r"\p{Alnum}": "a-zA-Z0-9"}


@functools.cache
def request_shape() -> StructureShape:
    """Return the model of CreateTrainingJob's request."""
    model = ServiceModel(Loader().load_service_model("sagemaker", "service-2"), "sagemaker")
    shape = model.operation_model("CreateTrainingJob").input_shape
    assert shape is not None
    return shape


def violations(request: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Yield where a partial request breaks the API's rules, and how. Missing top-level fields are no violation."""
    for name, value in request.items():
        yield from _member(request_shape(), name, value, ())


def unknown_instance_type(name: str) -> bool:
    """Tell whether the installed botocore does not list an instance type; a newer one may."""
    instance_type = request_shape().members["ResourceConfig"].members["InstanceType"]  # type: ignore[attr-defined]  # a structure
    return name not in instance_type.metadata["enum"]


def _member(shape: StructureShape, name: str, value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if name not in shape.members:
        yield (*path, name), f"the API has no such field; {suggest(name, shape.members)}"
    else:
        yield from _value(shape.members[name], value, (*path, name))


def _value(shape: Shape, value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if not _has_type(shape, value):
        yield path, f"expected {_TYPES[shape.type_name][0]}, got {show(value)}"
        return
    yield from _limits(shape, value, path)
    if isinstance(shape, StructureShape):
        for name, item in value.items():
            yield from _member(shape, name, item, path)
        for name in shape.required_members:
            if name not in value and (*path, name) not in RENDERED:
                yield (*path, name), "missing; the API needs it here"
    elif isinstance(shape, ListShape):
        for index, item in enumerate(value):
            yield from _value(shape.member, item, (*path, index))
    elif isinstance(shape, MapShape):
        for key, item in value.items():
            yield from _value(shape.key, key, (*path, key))
            yield from _value(shape.value, item, (*path, key))


def _has_type(shape: Shape, value: Any) -> bool:
    is_boolean = shape.type_name == "boolean"  # Python takes True for an int
    return isinstance(value, _TYPES[shape.type_name][1]) and isinstance(value, bool) == is_boolean


def _limits(shape: Shape, value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    rules = shape.metadata
    is_sized = isinstance(value, (str, list, dict))
    size, unit = (len(value), _UNITS[shape.type_name]) if is_sized else (value, "")
    choices, pattern = rules.get("enum"), rules.get("pattern")
    if isinstance(value, str) and pattern and not _fits(pattern, value):
        yield path, f"expected {FORMS.get(shape.name, f'the form {pattern}')}, got {show(value)}"
    elif "min" in rules and size < rules["min"]:
        yield path, f"the API takes at least {rules['min']:,}{unit}, got {size:,}"
    elif "max" in rules and size > rules["max"]:
        yield path, f"the API takes at most {rules['max']:,}{unit}, got {size:,}"
    elif choices and value not in choices and shape.name != "TrainingInstanceType":
        yield path, f"the API knows no {show(value)}; {suggest(value, choices)}"


def _fits(pattern: str, value: str) -> bool:
    if value.startswith("file://"):  # stands for s3:// where a job runs on this machine
        return True
    for java, python in _CLASSES.items():
        pattern = pattern.replace(java, python)
    return re.fullmatch(pattern, value, re.DOTALL) is not None


_TYPES: dict[str, tuple[str, tuple[type, ...]]] = {
    "structure": ("a mapping", (dict,)),
    "map": ("a mapping", (dict,)),
    "list": ("a list", (list,)),
    "string": ("text", (str,)),
    "boolean": ("true or false", (bool,)),
    "integer": ("a whole number", (int,)),
    "long": ("a whole number", (int,)),
    "float": ("a number", (int, float)),
    "double": ("a number", (int, float)),
}
_UNITS = {"string": " characters", "list": " items", "map": " entries", "structure": ""}
