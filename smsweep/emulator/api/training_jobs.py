"""CreateTrainingJob, DescribeTrainingJob, StopTrainingJob, UpdateTrainingJob and DeleteTrainingJob."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from smsweep.emulator import api_error
from smsweep.emulator.account import job_arn
from smsweep.emulator.api import validation
from smsweep.emulator.api.documents import description
from smsweep.emulator.api.tags import tag_map
from smsweep.emulator.api.validation import HasObjects
from smsweep.emulator.fault_injector import FaultInjector
from smsweep.emulator.jobs import quota, warm_pools
from smsweep.emulator.jobs.job import Job
from smsweep.emulator.jobs.job_table import JobTable

Request = dict[str, Any]
Document = dict[str, Any]


class TrainingJobs:
    """Handles calls about one training job.

    Args:
        table: All jobs.
        faults: Has the quota of the account.
        has_objects: Returns True if an S3 URI has objects.
        clock: Returns seconds since the epoch.
        on_change: Called with a job whose status has changed. The caller holds the lock of the table.
        on_delete: Called with the name of a deleted job. The caller holds the lock of the table.
    """

    def __init__(
        self,
        table: JobTable,
        faults: FaultInjector,
        has_objects: HasObjects,
        clock: Callable[[], float],
        on_change: Callable[[Job], None],
        on_delete: Callable[[str], None],
    ) -> None:
        self._table = table
        self._faults = faults
        self._has_objects = has_objects
        self._clock = clock
        self._on_change = on_change
        self._on_delete = on_delete

    def create(self, request: Request, region: str) -> Document:
        """Return the response of CreateTrainingJob. Raises ApiError."""
        validation.check_create(request, region, self._has_objects)
        tags = tag_map(request.pop("Tags", ()))
        name, now = request["TrainingJobName"], self._clock()
        with self._table.lock:
            existing = self._table.get(name)
            if existing is not None:
                raise api_error.name_taken(existing.arn)
            job = Job(
                name=name,
                arn=job_arn(region, name),
                region=region,
                request=request,
                tags=tags,
                created_at=now,
                modified_at=now,
            )
            jobs = self._table.all()
            pool = warm_pools.reusable(job, jobs)
            limit = self._faults.now.quota
            if limit is not None:
                quota.check(job, [other for other in jobs if other is not pool], limit)
            warm_pools.take(job, pool, now)
            if pool is not None:
                self._table.save(pool)
            job.enter("Starting", now)
            self._table.add(job)
            self._on_change(job)
        return {"TrainingJobArn": job.arn}

    def describe(self, request: Request, region: str) -> Document:
        """Return the response of DescribeTrainingJob. Raises ApiError."""
        with self._table.lock:
            return description(self._find(request, region))

    def stop(self, request: Request, region: str) -> None:
        """Carry out StopTrainingJob. Raises ApiError."""
        with self._table.lock:
            job = self._find(request, region)
            if job.is_terminal:
                raise api_error.invalid(
                    f"The request was rejected because the training job is in status {job.status}."
                )
            if job.is_stopping:
                return
            job.enter("Stopping", self._clock())
            self._on_change(job)

    def update(self, request: Request, region: str) -> Document:
        """Return the response of UpdateTrainingJob. Raises ApiError."""
        with self._table.lock:
            job = self._find(request, region)
            for name in ("ProfilerConfig", "RemoteDebugConfig"):
                if name in request:
                    if job.is_terminal:
                        raise api_error.invalid(
                            f"{name} cannot be updated because the training job is in status {job.status}."
                        )
                    job.request[name] = {**job.request.get(name, {}), **request[name]}
            keep_alive_s = request.get("ResourceConfig", {}).get("KeepAlivePeriodInSeconds")
            if keep_alive_s is not None:
                self._change_pool(job, keep_alive_s)
            self._table.save(job)
        return {"TrainingJobArn": job.arn}

    def delete(self, request: Request, region: str) -> None:
        """Carry out DeleteTrainingJob. Raises ApiError."""
        with self._table.lock:
            job = self._find(request, region)
            if not job.is_terminal:
                raise api_error.ApiError(
                    "ResourceInUse", f"The training job is in status {job.status} and cannot be deleted."
                )
            if job.warm_pool.get("Status") == "Available":
                raise api_error.ApiError(
                    "ResourceInUse", "The training job retains an Available warm pool and cannot be deleted."
                )
            self._table.remove(job.name)
            self._on_delete(job.name)

    def _change_pool(self, job: Job, keep_alive_s: int) -> None:
        if job.warm_pool.get("Status") not in ("InUse", "Available"):
            raise api_error.invalid(
                "KeepAlivePeriodInSeconds cannot be updated because the training job has no warm pool."
            )
        warm_pools.change(job, keep_alive_s, self._clock())

    def _find(self, request: Request, region: str) -> Job:
        job = self._table.get(request["TrainingJobName"])
        if job is None or job.region != region:
            raise api_error.no_such_job()
        return job
