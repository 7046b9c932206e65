"""Which operations of SageMaker the emulator serves, refuses, or passes to moto, which only keeps records.

The rule reads AWS's API model, so that it also covers operations of later versions. An operation starts work if
its name says so (Start..., Create...Job), or if it creates a resource that can run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from botocore import xform_name
from botocore.model import StringShape, StructureShape
from moto.sagemaker.responses import SageMakerResponse

from smsweep.aws import request_model

STARTS = re.compile(r"(Start|Retry|Send)[A-Z]\w*|Create\w*Job(V\d+)?")
CREATE = "Create"
RUNS = frozenset({"InService", "Running", "Starting", "Executing"})  # statuses of resources that run
ALTERNATIVES: Mapping[str, str] = {
    "ProcessingJob|TransformJob": "run the script as a training job",
    "AutoML": "run a tuning job",
    "Pipeline": "run the steps as training jobs",
    "Endpoint|Inference": "load the model of a training job in a script",
}


def starts_work(action: str) -> bool:
    """Return True if an operation of SageMaker starts work, so that a record of it alone has no result."""
    return STARTS.fullmatch(action) is not None or (action.startswith(CREATE) and _can_run(action))


def _can_run(action: str) -> bool:
    """Return True if the description of the created resource has a status in which the resource runs."""
    describe = f"Describe{action.removeprefix(CREATE)}"
    if not request_model.is_operation(describe):
        return False
    shape = request_model.operation(describe).output_shape
    members = shape.members.values() if isinstance(shape, StructureShape) else ()
    return any(isinstance(member, StringShape) and RUNS & set(member.enum) for member in members)


def has_records(action: str) -> bool:
    """Return True if moto keeps records for the operation."""
    return hasattr(SageMakerResponse, xform_name(action))


def alternative(action: str) -> str:
    """Return what the user can do instead of a refused call."""
    on_aws = "unset AWS_ENDPOINT_URL to call AWS"
    hints = (hint for pattern, hint in ALTERNATIVES.items() if re.search(pattern, action))
    return " or ".join((*hints, on_aws))


def refused(served: Iterable[str]) -> list[str]:
    """Return the operations that moto has, but that the emulator refuses, by name.

    Args:
        served: The operations that the emulator serves itself.
    """
    return sorted(
        name
        for name in request_model.operations()
        if has_records(name) and starts_work(name) and name not in served
    )


def recorded(served: Iterable[str]) -> list[str]:
    """Return the operations that the emulator passes to moto, by name. served: as for `refused`."""
    return sorted(
        name
        for name in request_model.operations()
        if has_records(name) and not starts_work(name) and name not in served
    )
