"""The account's quota: how many instances of one type and market may live at once."""

from __future__ import annotations

from collections.abc import Iterable

from smsweep.endpoint import api_error
from smsweep.endpoint.job import Job


def check(wanted: Job, jobs: Iterable[Job], limit: int) -> None:
    """Raises ApiError (ResourceLimitExceeded). Jobs that are stopping count, and so do idle warm pools."""
    kind = instance_kind(wanted)
    used = sum(instance_count(job) for job in jobs if instance_kind(job) == kind and _holds_instances(job))
    count = instance_count(wanted)
    if used + count > limit:
        market = "spot training job usage" if wanted.is_spot else "training job usage"
        raise api_error.quota_reached(f"{kind[0]} for {market}", limit, used, count)


def instance_kind(job: Job) -> tuple[str, bool]:
    """Return what a quota is counted by: instance type, and whether on the spot market."""
    return instance_type(job), job.is_spot


def instance_type(job: Job) -> str:
    groups = [*job.resources.get("InstanceGroups", ()), *job.resources.get("InstancePreferences", ())]
    return str(job.resources.get("InstanceType") or groups[0]["InstanceType"])


def instance_count(job: Job) -> int:
    groups = job.resources.get("InstanceGroups", ())
    return sum(group["InstanceCount"] for group in groups) or int(job.resources.get("InstanceCount", 1))


def _holds_instances(job: Job) -> bool:
    return not job.is_terminal or job.warm_pool.get("Status") == "Available"
