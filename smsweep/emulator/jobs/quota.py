"""Quota of the account: the number of live instances of one type and market."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from smsweep.emulator import api_error
from smsweep.emulator.jobs.job import Job


def check(wanted: Job, jobs: Iterable[Job], limit: int) -> None:
    """Check that a new job is within the quota. Stopping jobs and idle warm pools count.

    Raises:
        ApiError: ResourceLimitExceeded.
    """
    kind = instance_kind(wanted)
    used = sum(instance_count(job) for job in jobs if instance_kind(job) == kind and _holds_instances(job))
    count = instance_count(wanted)
    if used + count > limit:
        market = "spot training job usage" if wanted.is_spot else "training job usage"
        raise api_error.quota_reached(f"{kind[0]} for {market}", limit, used, count)


def instance_kind(job: Job) -> tuple[str, bool]:
    """Return what a quota counts: (instance type, True for spot instances)."""
    return instance_type(job), job.is_spot


def instance_type(job: Job) -> str:
    """Return the job's instance type, or its first preference, or the type of its first instance group."""
    resources = job.resources
    groups = [*resources.get("InstanceGroups", ()), *resources.get("InstancePreferences", ())]
    return str(resources.get("SelectedInstanceType") or resources.get("InstanceType") or groups[0]["InstanceType"])


def instance_count(job: Job) -> int:
    """Return the number of the job's instances."""
    resources = job.resources
    in_groups = sum(group["InstanceCount"] for group in resources.get("InstanceGroups", ()))
    return in_groups or int(resources.get("SelectedInstanceCount") or resources.get("InstanceCount", 1))


def _holds_instances(job: Job) -> bool:
    return not job.is_terminal or job.warm_pool.get("Status") == "Available"


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """Instances that a job can use."""

    instance_type: str
    count: int


def offers(job: Job) -> list[Offer]:
    """Return the instances that the job can use, by preference. A selected preference is the only offer."""
    preferences = job.resources.get("InstancePreferences", ())
    if not preferences or "SelectedInstanceType" in job.resources:
        return [Offer(instance_type=instance_type(job), count=instance_count(job))]
    return [Offer(instance_type=item["InstanceType"], count=item.get("InstanceCount", 1)) for item in preferences]
