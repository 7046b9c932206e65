"""Fields of a job's request: hosts, instance groups, channels. Shared functions of the local backends."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from smsweep.backends.local.job_files import DamagedFile, read_request
from smsweep.core.job import JobTemplate, Site, TrainingJobRequest
from smsweep.core.resources import with_resources

log = logging.getLogger(__name__)

ONLY_GROUP = "homogeneousCluster"  # SageMaker's name for the only group of a job without InstanceGroups


@dataclass(frozen=True, kw_only=True, slots=True)
class InstanceGroup:
    """Hosts of the same instance type."""

    name: str
    instance_type: str
    hosts: tuple[str, ...]  # algo-1, algo-2, ...; the numbers continue from the previous group


def instance_groups(request: TrainingJobRequest) -> Sequence[InstanceGroup]:
    """Return the job's instance groups in order. A job without InstanceGroups has one group."""
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
    """Return the names of all hosts of the job: `algo-1`, `algo-2` and so on."""
    return [host for group in instance_groups(request) for host in group.hosts]


def s3_source(channel: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the channel's S3DataSource; empty for a file system."""
    source: Mapping[str, Any] = channel.get("DataSource", {}).get("S3DataSource", {})
    return source


def input_mode(request: TrainingJobRequest, channel: Mapping[str, Any]) -> str:
    """Return the channel's InputMode; by default, the job's TrainingInputMode."""
    default = request.get("AlgorithmSpecification", {}).get("TrainingInputMode", "File")
    return str(channel.get("InputMode", default))


def prepare(
    template: JobTemplate, assets: Path, folder: Path, environ: Mapping[str, str], *, upload: bool
) -> tuple[JobTemplate, Site]:
    """Return the template with its resources in the request, and the places of its files. See `base.Prepare`."""
    del environ
    template = replace(template, request=with_resources(template.request, template.resources))
    for name in ("jobs", "checkpoints") if upload else ():
        with suppress(OSError):  # a job that needs the folder reports the error
            (folder / name).mkdir(mode=0o700, exist_ok=True)
    return template, Site(
        assets_uri=assets.as_uri(),
        output_uri=(folder / "jobs").as_uri(),
        checkpoint_uri=(folder / "checkpoints").as_uri(),
    )


def find_jobs(prefix: str, jobs_dir: Path, foreign_files: Collection[str]) -> Iterator[TrainingJobRequest]:
    """Yield the requests of the jobs below a folder. A damaged request is skipped with a warning.

    Args:
        prefix: The prefix of the jobs' names.
        jobs_dir: The folder that contains the jobs' folders.
        foreign_files: Names of files that only jobs of other backends have.
    """
    for file in sorted(jobs_dir.glob("*/request.json")):
        job = file.parent
        if job.name.startswith(prefix) and not any(os.path.lexists(job / name) for name in foreign_files):
            try:
                yield read_request(file)
            except DamagedFile as err:
                log.warning("%s is skipped: %s", job.name, err)
