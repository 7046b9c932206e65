"""Instances kept warm after a job, for the next one that is like it."""

from __future__ import annotations

from collections.abc import Iterable

from smsweep.emulator.jobs.job import Job

# A job gets a kept instance only when these are the same. Source: AWS's matching criteria.
SAME_REQUEST = ("RoleArn", "VpcConfig", "EnableInterContainerTrafficEncryption", "EnableNetworkIsolation")
SAME_RESOURCES = ("InstanceType", "InstanceCount", "VolumeSizeInGB", "VolumeKmsKeyId")
KEPT_AFTER_FAILURE = "AlgorithmError"  # other failures may be the instance's own


def reusable(wanted: Job, jobs: Iterable[Job]) -> Job | None:
    """Return the job whose pool a new job gets: of several, the oldest."""
    if wanted.is_spot:
        return None
    found = [job for job in jobs if _is_idle(job) and _key(job) == _key(wanted)]
    return min(found, key=lambda job: job.created_at, default=None)


def take(wanted: Job, pool: Job | None, now: float) -> None:
    """Note that a new job starts, in a pool or with instances of its own."""
    if keep_alive_s(wanted):
        wanted.warm_pool = {"Status": "InUse"}
    if pool is not None:
        _end(pool, "Reused", now)
        pool.warm_pool["ReusedByJob"] = wanted.name


def keep(job: Job, now: float) -> None:
    """Note that a job with a pool has ended."""
    if not job.warm_pool:
        return
    if job.status == "Failed" and not job.failure_reason.startswith(KEPT_AFTER_FAILURE):
        job.warm_pool = {"Status": "Terminated", "ResourceRetainedBillableTimeInSeconds": 0}
        return
    job.warm_pool = {"Status": "Available"}
    job.pool_expires_at = now + keep_alive_s(job)


def change(job: Job, keep_alive_s: int, now: float) -> None:
    """Keep the instances for so long from now on; 0 lets go of them."""
    job.request["ResourceConfig"] = {**job.resources, "KeepAlivePeriodInSeconds": keep_alive_s}
    if _is_idle(job):
        job.pool_expires_at = now + keep_alive_s
        expire(job, now)


def expire(job: Job, now: float) -> bool:
    """Let go of the instances when their time is over; tell whether it was."""
    if not _is_idle(job) or now < job.pool_expires_at:
        return False
    _end(job, "Terminated", now)
    return True


def keep_alive_s(job: Job) -> int:
    return int(job.resources.get("KeepAlivePeriodInSeconds", 0))


def _is_idle(job: Job) -> bool:
    return bool(job.warm_pool.get("Status") == "Available")


def _end(job: Job, status: str, now: float) -> None:
    retained_s = max(0, round(now - (job.ended_at or now)))
    job.warm_pool = {"Status": status, "ResourceRetainedBillableTimeInSeconds": retained_s}


def _key(job: Job) -> list[object]:
    # No field says the same as a field that is false.
    return [job.request.get(name) or None for name in SAME_REQUEST] + [
        job.resources.get(name) for name in SAME_RESOURCES
    ]
