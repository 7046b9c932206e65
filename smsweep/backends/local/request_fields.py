"""Which hosts a job has, and in which groups: of one kind each, as ResourceConfig says."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smsweep.backends.local.job_files import DamagedFile, read_request
from smsweep.core.job import JobTemplate, Site, TrainingJobRequest

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


log = logging.getLogger(__name__)


def prepare(
    template: JobTemplate, assets: Path, folder: Path, environ: Mapping[str, str], *, upload: bool
) -> tuple[JobTemplate, Site]:
    """Return the template unchanged, with the places of its files. See `spec.Prepare`."""
    del environ
    for name in ("jobs", "checkpoints") if upload else ():
        with suppress(OSError):  # the job that needs it says so
            (folder / name).mkdir(mode=0o700, exist_ok=True)
    return template, Site(
        assets_uri=assets.as_uri(),
        output_uri=(folder / "jobs").as_uri(),
        checkpoint_uri=(folder / "checkpoints").as_uri(),
    )


def find_jobs(prefix: str, jobs_dir: Path, leave_out: Collection[str]) -> Iterator[TrainingJobRequest]:
    """Yield the requests of the jobs in a folder. leave_out: files that only another backend's jobs have.

    A job whose request cannot be read is left out, with a warning.
    """
    for file in sorted(jobs_dir.glob("*/request.json")):
        job = file.parent
        if job.name.startswith(prefix) and not any(os.path.lexists(job / name) for name in leave_out):
            try:
                yield read_request(file)
            except DamagedFile as err:
                log.warning("%s is left out: %s", job.name, err)
