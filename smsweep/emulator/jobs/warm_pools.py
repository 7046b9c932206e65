"""Warm pools, which keep instances for the next job with the same settings, and the account's quota."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from smsweep.emulator import api_error
from smsweep.emulator.jobs.job import Job

# Fields that must be equal for a job to reuse a warm pool. Source: the matching criteria in the AWS documentation.
SAME_REQUEST = ("RoleArn", "VpcConfig", "EnableInterContainerTrafficEncryption", "EnableNetworkIsolation")
SAME_RESOURCES = ("InstanceType", "InstanceCount", "VolumeSizeInGB", "VolumeKmsKeyId")
KEPT_AFTER_FAILURE = "AlgorithmError"  # other failures can be caused by the instance


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


def reusable(wanted: Job, jobs: Iterable[Job]) -> Job | None:
    """Return the oldest job whose warm pool a new job can reuse, or None."""
    if wanted.is_spot:
        return None
    matching = [job for job in jobs if _is_idle(job) and _key(job) == _key(wanted)]
    return min(matching, key=lambda job: job.created_at, default=None)


def take(wanted: Job, pool: Job | None, now: float) -> None:
    """Record that a new job starts in a warm pool, or without one."""
    if keep_alive_s(wanted):
        wanted.warm_pool = {"Status": "InUse"}
    if pool is not None:
        _end(pool, "Reused", now)
        pool.warm_pool["ReusedByJob"] = wanted.name


def keep(job: Job, now: float, jobs: Iterable[Job], quota: int | None) -> None:
    """Keep the instances of a job that has ended, if it has a warm pool and the quota allows it.

    Args:
        job: The job.
        now: Seconds since the epoch.
        jobs: All jobs.
        quota: Idle instances of one type; None without a limit. A pool above the quota ends without an error.
    """
    if not job.warm_pool:
        return
    kind = instance_type(job)
    idle = sum(instance_count(each) for each in jobs if _is_idle(each) and instance_type(each) == kind)
    is_over = quota is not None and idle + instance_count(job) > quota
    if is_over or (job.status == "Failed" and not job.failure_reason.startswith(KEPT_AFTER_FAILURE)):
        job.warm_pool = {"Status": "Terminated", "ResourceRetainedBillableTimeInSeconds": 0}
        return
    job.warm_pool = {"Status": "Available"}
    job.pool_expires_at = now + keep_alive_s(job)


def change(job: Job, keep_alive_s: int, now: float) -> None:
    """Set how long from now the warm pool is kept; 0 ends it."""
    job.request["ResourceConfig"] = {**job.resources, "KeepAlivePeriodInSeconds": keep_alive_s}
    if _is_idle(job):
        job.pool_expires_at = now + keep_alive_s
        expire(job, now)


def expire(job: Job, now: float) -> bool:
    """End the warm pool if it has expired, and return True if so."""
    if not _is_idle(job) or now < job.pool_expires_at:
        return False
    _end(job, "Terminated", now)
    return True


def keep_alive_s(job: Job) -> int:
    """Return KeepAlivePeriodInSeconds of the request; 0 without a warm pool."""
    return int(job.resources.get("KeepAlivePeriodInSeconds", 0))


def _is_idle(job: Job) -> bool:
    return bool(job.warm_pool.get("Status") == "Available")


def _end(job: Job, status: str, now: float) -> None:
    retained_s = max(0, round(now - (job.ended_at or now)))
    job.warm_pool = {"Status": status, "ResourceRetainedBillableTimeInSeconds": retained_s}


def _key(job: Job) -> list[object]:
    # A missing field is equal to a field that is false.
    return [job.request.get(name) or None for name in SAME_REQUEST] + [
        job.resources.get(name) for name in SAME_RESOURCES
    ]


def check_quota(wanted: Job, jobs: Iterable[Job], limit: int) -> None:
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
