"""Warm pools: instances that are kept after a job for the next job with the same settings."""

from __future__ import annotations

from collections.abc import Iterable

from smsweep.emulator.jobs.job import Job

# Fields that must be equal for a job to reuse a warm pool. Source: the matching criteria in the AWS documentation.
SAME_REQUEST = ("RoleArn", "VpcConfig", "EnableInterContainerTrafficEncryption", "EnableNetworkIsolation")
SAME_RESOURCES = ("InstanceType", "InstanceCount", "VolumeSizeInGB", "VolumeKmsKeyId")
KEPT_AFTER_FAILURE = "AlgorithmError"  # other failures can be caused by the instance


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


def keep(job: Job, now: float) -> None:
    """Keep the instances of a job that has ended, if it has a warm pool."""
    if not job.warm_pool:
        return
    if job.status == "Failed" and not job.failure_reason.startswith(KEPT_AFTER_FAILURE):
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
