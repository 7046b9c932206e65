"""Validation of requests, with the error messages of SageMaker."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from botocore.model import ListShape, MapShape, Shape

from smsweep.aws import request_model
from smsweep.aws.request_model import Path, Violation
from smsweep.aws.request_rules import broken_rules
from smsweep.emulator import api_error
from smsweep.util.terminal_text import counted

MAX_LISTED = 10  # problems in one error message


def check(action: str, request: Mapping[str, Any]) -> None:
    """Check a request against the API model.

    Args:
        action: Name of the API call.
        request: Its parameters.

    Raises:
        ApiError: SerializationException for a wrong type, ValidationException for other problems.
    """
    violations = list(islice(request_model.violations(action, request), MAX_LISTED))
    for violation in violations:
        if violation.rule == "type":
            raise api_error.serialization_error(_type_message(violation))
        if violation.rule == "unknown":
            raise api_error.invalid(f"Unknown field {_path_text(violation.path)}: the API model does not have it")
    if violations:
        number = counted(len(violations), "validation error")
        raise api_error.invalid(
            f"{number} detected: {'; '.join(_message(action, request, item) for item in violations)}"
        )


def _message(action: str, request: Mapping[str, Any], violation: Violation) -> str:
    if violation.rule == "missing":
        return (
            f"Value null at '{_path_text(violation.path)}' failed to satisfy constraint: Member must not be null"
        )
    constraint = _constraint(violation.shape, violation.rule)
    path, value = violation.path, violation.value
    parent = _shape_at(action, path[:-1])
    if isinstance(parent, MapShape):  # SageMaker reports the map, not the entry
        part = "keys" if violation.is_key else "value"
        rules = ", ".join(_constraint(violation.shape, rule) for rule in _rules(violation.shape))
        constraint, path = f"Map {part} must satisfy constraint: [{rules}]", path[:-1]
        value = functools.reduce(operator.getitem, path, request)  # type: ignore[arg-type]  # lists and mappings
    return f"Value '{_value_text(value)}' at '{_path_text(path)}' failed to satisfy constraint: {constraint}"


def _value_text(value: Any) -> str:
    """Return a value as the text that Java prints: [A, B] for a list, {a=1} for a map."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}={_value_text(item)}' for key, item in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value_text, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _rules(shape: Shape) -> list[str]:
    return [rule for rule in ("max", "min", "pattern", "enum") if rule in shape.metadata]


def _constraint(shape: Shape, rule: str) -> str:
    limit = shape.metadata[rule]
    if rule == "pattern":
        return f"Member must satisfy regular expression pattern: {limit}"
    if rule == "enum":
        return f"Member must satisfy enum value set: [{', '.join(limit)}]"
    what = "length" if shape.type_name in ("string", "list", "map") else "value"
    side = "less" if rule == "max" else "greater"
    return f"Member must have {what} {side} than or equal to {limit}"


def _type_message(violation: Violation) -> str:
    expected = violation.shape.type_name
    return f"{_path_text(violation.path)}: expected {expected}, got {type(violation.value).__name__}"


def _path_text(path: Path) -> str:
    """Return a path in the notation of SageMaker: trainingJobName, tags.1.member.key."""
    return ".".join(
        f"{item + 1}.member" if isinstance(item, int) else item[:1].lower() + item[1:] for item in path
    )


def _shape_at(action: str, path: Path) -> Shape:
    shape: Any = request_model.operation(action).input_shape
    for item in path:
        if isinstance(shape, ListShape):
            shape = shape.member
        elif isinstance(shape, MapShape):
            shape = shape.value
        else:
            shape = shape.members[item]
    result: Shape = shape
    return result


HasObjects = Callable[[str], bool]  # returns True if an S3 URI has objects


def check_create(request: Mapping[str, Any], region: str, has_objects: HasObjects) -> None:
    """Check the rules for CreateTrainingJob that are not in the API model.

    Args:
        request: A request that `check` has accepted.
        region: Region of the call.
        has_objects: Returns True if an S3 URI has objects.

    Raises:
        ApiError: ValidationException for the first broken rule.
    """
    for message in broken_rules(request):
        raise api_error.invalid(message)
    for channel in request.get("InputDataConfig", ()):
        uri = channel["DataSource"].get("S3DataSource", {}).get("S3Uri", "")
        if uri and not has_objects(uri):
            bucket = uri.removeprefix("s3://").partition("/")[0]
            raise api_error.invalid(
                f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the '
                f"bucket exists in the selected region ({region}), that objects exist under that S3 prefix, and "
                f'that the role "{request["RoleArn"]}" has "s3:ListBucket" permissions on bucket "{bucket}".'
            )
