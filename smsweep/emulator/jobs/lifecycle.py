"""The course of a job: what its next step is, from Starting to its end."""

from __future__ import annotations

import logging
from collections.abc import Callable

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from smsweep.backends.base import Backend
from smsweep.core.job import MAX_FAILURE_REASON, JobStatus
from smsweep.emulator.fault_injector import FaultBox
from smsweep.emulator.jobs import lifecycle, warm_pools
from smsweep.emulator.jobs.job import Job
from smsweep.emulator.jobs.job_table import JobTable
from smsweep.emulator.jobs.metrics import MetricReader
from smsweep.emulator.jobs.moto_services import Cloud
from smsweep.emulator.jobs.quota import Offer, offers
from smsweep.emulator.jobs.staging import Staging
from smsweep.errors import JobError

log = logging.getLogger(__name__)

SPOT_SAVING = 0.7  # of the training time is not billed
CHECKPOINT_S = 1.0  # between two looks at a job's checkpoints
TRANSFER_ERRORS = (OSError, JobError, Boto3Error, BotoCoreError, ClientError)


class Course:
    """For one thread only. clock: seconds since the epoch."""

    def __init__(
        self,
        table: JobTable,
        backend: Backend,
        staging: Staging,
        cloud: Cloud,
        faults: FaultBox,
        clock: Callable[[], float],
    ) -> None:
        self._table = table
        self._backend = backend
        self._staging = staging
        self._cloud = cloud
        self._faults = faults
        self._clock = clock
        self._synced_at: dict[str, float] = {}  # by job: when its checkpoints were looked at
        self._stops: set[str] = set()  # jobs whose backend has been told

    def step(self, job: Job, seen: JobStatus | None) -> None:
        """Take a job one step on. seen: what the backend says of it; None before it was submitted."""
        if not job.is_submitted:
            self._begin(job)
        elif seen is None:
            self._finish(job, "Failed", lifecycle.INTERNAL)
        else:
            self._copy_log(job)
            if seen.is_terminal:
                self._end(job, seen)
            else:
                self._follow(job, seen)

    def announce(self, job: Job) -> None:
        """Save a job's new state and let the world know."""
        self._table.save(job)
        self._cloud.announce(job, times=2 if self._faults.now.duplicate_events else 1)

    def fail(self, job: Job) -> None:
        """End a job that we ourselves cannot take on."""
        self._backend.stop(job.name, grace_s=0)
        self._finish(job, "Failed", lifecycle.INTERNAL)

    def discard(self, name: str) -> None:
        """Forget a deleted job, so that its name can be used again."""
        self._backend.forget(name)
        self._staging.discard(name)

    def _begin(self, job: Job) -> None:
        if job.is_stopping:
            self._finish(job, "Stopped")
        elif self._clock() - job.created_at > job.limit("MaxWaitTimeInSeconds"):
            self._finish(job, "MaxWaitTimeExceeded")
        elif job.secondary_status in ("Interrupted", "Restarting"):
            self._enter(job, "Starting")
        elif job.secondary_status == "Downloading":
            self._submit(job)
        elif self._clock() - job.since("Starting") >= self._faults.now.start_s and self._has_capacity(job):
            self._enter(job, "Downloading")

    def _has_capacity(self, job: Job) -> bool:
        """Take the first of the job's instance types that is to be had; without any, the job waits or fails."""
        waited_s = self._clock() - job.since("Starting")
        for offer in offers(job):
            what = {"job": job.name, "instance_type": offer.instance_type}
            strike = self._faults.waits_for("no_capacity", what)
            if strike is None:
                self._select(job, offer)
                return True
            if waited_s < strike.after_s:
                if job.secondary_status != "Pending":
                    self._enter(job, "Pending")
                return False
            self._faults.take("no_capacity", what)
        self._finish(job, "Failed", lifecycle.CAPACITY)
        return False

    def _select(self, job: Job, offer: Offer) -> None:
        if "InstancePreferences" in job.resources:
            selected = {"SelectedInstanceType": offer.instance_type, "SelectedInstanceCount": offer.count}
            with self._table.lock:
                job.request["ResourceConfig"] = {**job.resources, **selected}

    def _submit(self, job: Job) -> None:
        try:
            self._backend.submit(self._staging.prepare(job))
        except JobError as err:
            if not err.retryable:
                self._finish(job, "Failed", f"ClientError: {err}")
                return
            log.warning("%s: %s; trying again", job.name, err)
            return
        with self._table.lock:
            job.is_submitted = True
            job.log_stream = f"{job.name}/algo-1-{round(self._clock())}"
            self._table.save(job)

    def _follow(self, job: Job, seen: JobStatus) -> None:
        now = self._clock()
        if seen.secondary_status == "Training" and job.secondary_status == "Downloading":
            self._enter(job, "Training")
        if now - self._synced_at.get(job.name, 0.0) >= CHECKPOINT_S:
            self._staging.sync_checkpoints(job)
            self._synced_at[job.name] = self._clock()
        if job.is_stopping or job.restart_status:
            self._tell_to_stop(job)
        elif seen.status == "Stopping":
            self._stops.add(job.name)  # its MaxRuntimeInSeconds are over, as the backend will say and has told it
            self._enter(job, "Stopping")
        elif now - job.created_at > job.limit("MaxWaitTimeInSeconds"):
            job.stop_reason = "MaxWaitTimeExceeded"
            self._enter(job, "Stopping")
        elif job.secondary_status == "Training":
            self._strike(job, now - job.since("Training"))

    def _strike(self, job: Job, trained_s: float) -> None:
        """Let the faults hit a job that trains."""
        if job.is_spot and self._faults.take("interrupt", {"job": job.name}, age_s=trained_s):
            job.restart_status = "Interrupted"
            self._tell_to_stop(job)
        elif self._faults.take("internal_error", {"job": job.name}, age_s=trained_s):
            may_restart = job.restarts < job.request.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0)
            job.restart_status = "Restarting" if may_restart else ""
            job.failure_reason = "" if may_restart else lifecycle.INTERNAL
            self._tell_to_stop(job, grace_s=0)

    def _tell_to_stop(self, job: Job, *, grace_s: float | None = None) -> None:
        if job.name not in self._stops:
            self._stops.add(job.name)
            self._backend.stop(job.name, grace_s=grace_s)

    def _end(self, job: Job, seen: JobStatus) -> None:
        if seen.started_at is not None and job.secondary_status == "Downloading":
            self._enter(job, "Training")  # it was over between two looks
        self._staging.sync_checkpoints(job)
        if job.restart_status and not job.is_stopping:
            self._restart(job)
            return
        self._enter(job, "Uploading")
        secondary, reason = _verdict(job, seen)
        try:
            self._staging.keep_artifacts(job)
        except TRANSFER_ERRORS as err:
            secondary, reason = "Failed", f"ClientError: Artifact upload failed: {err}"
        self._finish(job, secondary, reason)

    def _restart(self, job: Job) -> None:
        self._backend.forget(job.name)
        self._staging.put_aside(job)
        self._stops.discard(job.name)
        with self._table.lock:
            status, job.restart_status = job.restart_status, ""
            job.is_submitted, job.log_cursor = False, ""
            job.restarts += 1
        self._enter(job, status)

    def _finish(self, job: Job, secondary_status: str, reason: str = "") -> None:
        now = self._clock()
        self._backend.forget(job.name)
        self._staging.settle(job.name)
        self._stops.discard(job.name)
        self._synced_at.pop(job.name, None)
        with self._table.lock:
            job.failure_reason = reason[:MAX_FAILURE_REASON]
            if job.started_at is not None:
                job.ended_at = now
                job.training_s = max(1, round(now - job.started_at))
                billed_s = job.training_s * (1 - SPOT_SAVING) if job.is_spot else job.training_s
                job.billable_s = max(1, round(billed_s))
        self._enter(job, secondary_status)

    def _enter(self, job: Job, secondary_status: str) -> None:
        with self._table.lock:
            if not job.enter(secondary_status, self._clock()):
                return  # it was stopped meanwhile
            if secondary_status == "Downloading" and job.started_at is None:
                job.started_at = job.modified_at
            if job.is_terminal:
                warm_pools.keep(job, job.modified_at)
            self.announce(job)

    def _copy_log(self, job: Job) -> None:
        page = self._backend.read_logs(job.name, job.log_cursor)
        reader = MetricReader(job.request["AlgorithmSpecification"].get("MetricDefinitions", ()))
        while page.lines:
            now = self._clock()
            self._cloud.write_log(job, page.lines, now)
            with self._table.lock:
                job.log_cursor = page.cursor
                job.final_metrics = {**job.final_metrics, **reader.read(page.lines, now)}
            page = self._backend.read_logs(job.name, job.log_cursor)


def _verdict(job: Job, seen: JobStatus) -> tuple[str, str]:
    """Return the secondary status to end with, and the failure's reason."""
    if job.failure_reason:
        return "Failed", job.failure_reason
    if seen.status == "Failed" and not job.is_stopping:
        return "Failed", lifecycle.of(seen)
    if job.is_stopping or seen.status == "Stopped":
        by_backend = seen.secondary_status if seen.status == "Stopped" else "Stopped"
        return job.stop_reason or by_backend, ""
    return "Completed", ""


CAPACITY = (
    "CapacityError: Unable to provision requested ML compute capacity. "
    "Please retry using a different ML instance type."
)


INTERNAL = "InternalServerError: We encountered an internal error. Please try again."


OUT_OF_MEMORY = (
    "Please use an instance type with more memory, or reduce the size of job data processed on an instance."
)


KILLED = 137  # 128 + SIGKILL


def of(seen: JobStatus) -> str:
    """Return the reason of a job that failed by itself; a long one loses its end, but never the exit code."""
    if seen.exit_code is None:
        # A job that never ran has only the backend's words; one that was lost has none that are the user's.
        return INTERNAL if seen.is_lost else f"ClientError: {seen.failure_reason}"
    words = OUT_OF_MEMORY if seen.exit_code == KILLED else seen.failure_reason
    ending = f", exit code: {seen.exit_code}"
    return f"AlgorithmError: {words}"[: MAX_FAILURE_REASON - len(ending)] + ending
