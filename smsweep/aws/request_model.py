"""AWS's model of the SageMaker API: the fields of a request and their valid values.

botocore checks only types and minimum lengths before it sends a request; the service checks the rest. The backends
check everything before they send a request, and the emulator checks what it receives. Loading the model is slow.
"""

from __future__ import annotations

import difflib
import functools
import re
import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StructureShape

from smsweep.aws.request_rules import broken_rules, may_be_machine
from smsweep.core.job import TrainingJobRequest
from smsweep.errors import JobRejected
from smsweep.secrets.redact import env_references, remote_secret_errors

# Java's character classes in the model's patterns, with their closest equivalents in Python's re.
_SEPARATORS = r" \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_CLASSES = {
    r"\p{L}\p{Z}\p{N}": rf"\w{_SEPARATORS}",
    r"\p{Alnum}": "a-zA-Z0-9",
    r"\uD800\uDC00-\uDBFF\uDFFF": r"\U00010000-\U0010ffff",  # Java's pairs of surrogates
    "${1,128}": "$",  # Java repeats the end of the text
    "${1,256}": "$",
}
_CATEGORY = re.compile(r"\\p\{([A-Z])\}")

# A dot in the model's patterns matches no line terminator. Java has five of them.
_DOT = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|(?P<dot>\.)")
_NO_LINE_END = r"[^\n\r\u0085\u2028\u2029]"

_TYPES: dict[str, tuple[type, ...]] = {
    "structure": (dict,),
    "map": (dict,),
    "list": (list, tuple),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "timestamp": (int, float),
}

Path = tuple[str | int, ...]  # field names, map keys, and list indexes from 0
MAX_PROBLEMS = 5  # in one message
MAX_VALUES = 8  # of an enum, in a message


@dataclass(frozen=True, kw_only=True, slots=True)
class Violation:
    """One value that breaks one rule of the model."""

    path: Path  # of the value
    rule: str  # missing | unknown | type | pattern | min | max | enum
    shape: Shape  # of the value; of the enclosing structure if the rule is missing or unknown
    value: Any = None
    is_key: bool = False  # the value is a map's key, which is the last item of the path


@functools.cache
def operation(name: str) -> OperationModel:
    """Return the model of an operation of SageMaker, AWS Batch or SageMaker Metrics, such as CreateTrainingJob.

    Raises OperationNotFoundError.
    """
    others = () if is_operation(name) else ("batch", "sagemaker-metrics")
    service = next((each for each in others if name in _service(each).operation_names), "sagemaker")
    return _service(service).operation_model(name)


def is_operation(name: str) -> bool:
    """Return True if SageMaker has the operation."""
    return name in _service("sagemaker").operation_names


def operations() -> Sequence[str]:
    """Return the names of all operations of SageMaker."""
    names: Sequence[str] = _service("sagemaker").operation_names
    return names


def members(name: str) -> frozenset[str]:
    """Return the field names of a structure of SageMaker."""
    shape = _service("sagemaker").shape_for(name)
    return frozenset(shape.members) if isinstance(shape, StructureShape) else frozenset()


@functools.cache
def _service(name: str) -> ServiceModel:
    return ServiceModel(Loader().load_service_model(name, "service-2"), name)


def violations(name: str, request: Mapping[str, Any]) -> Iterator[Violation]:
    """Yield the violations of an operation's request, in the order of its fields.

    Args:
        name: The operation, such as CreateTrainingJob.
        request: The request. Times are seconds since the epoch, as in the protocol.
    """
    shape = operation(name).input_shape
    if shape is not None:  # otherwise the operation has no parameters
        yield from _value(shape, request, ())


def _value(shape: Shape, value: Any, path: Path) -> Iterator[Violation]:
    if not _has_type(shape, value):
        yield Violation(path=path, rule="type", shape=shape, value=value)
        return
    yield from _limits(shape, value, path)
    if isinstance(shape, StructureShape):
        yield from _structure(shape, value, path)
    elif isinstance(shape, ListShape):
        for index, item in enumerate(value):
            yield from _value(shape.member, item, (*path, index))
    elif isinstance(shape, MapShape):
        for key, item in value.items():
            yield from _limits(shape.key, key, (*path, key), is_key=True)
            yield from _value(shape.value, item, (*path, key))


def _structure(shape: StructureShape, value: Mapping[str, Any], path: Path) -> Iterator[Violation]:
    for name in shape.required_members:
        if value.get(name) is None:
            yield Violation(path=(*path, name), rule="missing", shape=shape)
    for name, item in value.items():
        if name not in shape.members:
            yield Violation(path=(*path, name), rule="unknown", shape=shape, value=item)
        elif item is not None:  # null means that the field is missing
            yield from _value(shape.members[name], item, (*path, name))


def _has_type(shape: Shape, value: Any) -> bool:
    is_boolean = shape.type_name == "boolean"  # in Python, True is an int
    return isinstance(value, _TYPES[shape.type_name]) and isinstance(value, bool) == is_boolean


def _limits(shape: Shape, value: Any, path: Path, *, is_key: bool = False) -> Iterator[Violation]:
    rules = shape.metadata
    size = len(value) if isinstance(value, (str, list, tuple, dict)) else value
    broken = {
        "min": "min" in rules and size < rules["min"],
        "max": "max" in rules and size > rules["max"],
        "pattern": "pattern" in rules and not _matches(rules["pattern"], value),
        "enum": "enum" in rules and value not in rules["enum"],
    }
    for rule, is_broken in broken.items():
        if is_broken:
            yield Violation(path=path, rule=rule, shape=shape, value=value, is_key=is_key)


def _matches(pattern: str, value: str) -> bool:
    return _compiled(pattern).fullmatch(value) is not None


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    for java, python in _CLASSES.items():
        pattern = pattern.replace(java, python)
    pattern = _CATEGORY.sub(lambda match: _category(match[1]), pattern)
    try:
        return re.compile(_DOT.sub(lambda match: _NO_LINE_END if match["dot"] else match[0], pattern))
    except re.error:  # a newer model can have other syntax of Java: the service checks the value
        return re.compile(r"(?s:.*)")


@functools.cache
def _category(letter: str) -> str:
    """Return a general category of Unicode, such as M for marks, as ranges of a character class. Slow."""
    codes = [code for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code))[0] == letter]
    starts = [code for code, before in zip(codes, [-2, *codes], strict=False) if code != before + 1]
    ends = [code for code, after in zip(codes, [*codes[1:], -2], strict=True) if code + 1 != after]
    return "".join(f"\\U{start:08x}-\\U{end:08x}" for start, end in zip(starts, ends, strict=True))


def validate(request: TrainingJobRequest) -> None:
    """Raise JobRejected if the API refuses the request. The message names each field and its rule."""
    broken = violations("CreateTrainingJob", request)
    problems = [words(item) for item in islice((item for item in broken if not _is_new(item)), MAX_PROBLEMS)]
    algorithm, resources = request.get("AlgorithmSpecification", {}), request.get("ResourceConfig", {})
    if not algorithm.get("TrainingImage") and not algorithm.get("AlgorithmName"):
        problems.append(
            "no image; give image_uri or framework in job.yaml (only --backend docker has a default image)"
        )
    if not {"InstanceType", "InstanceGroups", "InstancePreferences"} & resources.keys():
        problems.append("no machine; give instance_type in job.yaml")
    for channel in request.get("InputDataConfig", ()):
        uri = channel.get("DataSource", {}).get("S3DataSource", {}).get("S3Uri", "")
        if uri.startswith("file://"):
            problems.append(f"channel {channel['ChannelName']}: {uri} is on this machine only; give an s3:// URI")
    problems += remote_secret_errors(env_references(request))
    if not problems:  # the rules require a request without violations
        problems += broken_rules(request)
    if problems:
        raise JobRejected(f"{request.get('TrainingJobName')}: SageMaker would refuse it: " + "; ".join(problems))


def words(violation: Violation) -> str:
    """Return a violation as text: the field and the rule."""
    place = ".".join(str(step) for step in violation.path)
    if violation.rule == "missing":
        return f"{place} is missing" + ("; give role in job.yaml" if place == "RoleArn" else "")
    if violation.rule == "unknown":
        return f"{place}: the API has no such field"
    limit: Any = violation.shape.metadata.get(violation.rule, "")
    if violation.rule == "enum":
        return f"{place}: the API has no value {violation.value!r}{_instead(str(violation.value), limit)}"
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
