"""Which hosts a job has, and in which groups: of one kind each, as ResourceConfig says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from smsweep.core.job import TrainingJobRequest

ONLY_GROUP = "homogeneousCluster"  # SageMaker's name for the group of a job that names none


@dataclass(frozen=True, kw_only=True, slots=True)
class InstanceGroup:
    name: str
    instance_type: str
    hosts: tuple[str, ...]  # algo-1, algo-2, ...; numbered on from the group before


def instance_groups(request: TrainingJobRequest) -> Sequence[InstanceGroup]:
    """Return a job's groups in the request's order; one where it names none."""
    resources = request.get("ResourceConfig", {})
    groups = []
    first = 1
    for each in resources.get("InstanceGroups") or [{**resources, "InstanceGroupName": ONLY_GROUP}]:
        count = int(each.get("InstanceCount", 1))
        groups.append(
            InstanceGroup(
                name=each["InstanceGroupName"],
                instance_type=each.get("InstanceType", "local"),
                hosts=tuple(f"algo-{number}" for number in range(first, first + count)),
            )
        )
        first += count
    return groups


def host_names(request: TrainingJobRequest) -> Sequence[str]:
    return [host for group in instance_groups(request) for host in group.hosts]


def s3_source(channel: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return where in S3 the channel's files lie; empty for one that is a file system."""
    source: Mapping[str, Any] = channel.get("DataSource", {}).get("S3DataSource", {})
    return source


def input_mode(request: TrainingJobRequest, channel: Mapping[str, Any]) -> str:
    """Return how the channel comes: its own InputMode, else the job's."""
    default = request.get("AlgorithmSpecification", {}).get("TrainingInputMode", "File")
    return str(channel.get("InputMode", default))
