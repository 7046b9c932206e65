"""The instances that a job may run on."""

from __future__ import annotations

from dataclasses import dataclass

from smsweep.endpoint import quota
from smsweep.endpoint.job import Job


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
