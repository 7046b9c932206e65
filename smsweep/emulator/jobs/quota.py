"""The account's quota: how many instances of one type and market may live at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from smsweep.emulator import api_error
from smsweep.emulator.jobs import quota
from smsweep.emulator.jobs.job import Job


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
    """Return what the job runs on, or would like best; of several groups, the first one's."""
    resources = job.resources
    groups = [*resources.get("InstanceGroups", ()), *resources.get("InstancePreferences", ())]
    return str(resources.get("SelectedInstanceType") or resources.get("InstanceType") or groups[0]["InstanceType"])


def instance_count(job: Job) -> int:
    resources = job.resources
    in_groups = sum(group["InstanceCount"] for group in resources.get("InstanceGroups", ()))
    return in_groups or int(resources.get("SelectedInstanceCount") or resources.get("InstanceCount", 1))


def _holds_instances(job: Job) -> bool:
    return not job.is_terminal or job.warm_pool.get("Status") == "Available"


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    instance_type: str
    count: int


def offers(job: Job) -> list[Offer]:
    """Return what the job takes, best first; after one of its InstancePreferences was selected, only that."""
    preferences = job.resources.get("InstancePreferences", ())
    if not preferences or "SelectedInstanceType" in job.resources:
        return [Offer(instance_type=quota.instance_type(job), count=quota.instance_count(job))]
    return [Offer(instance_type=item["InstanceType"], count=item.get("InstanceCount", 1)) for item in preferences]
