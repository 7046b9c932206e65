"""Lifecycle of a job: its steps from Starting to its end."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from smsweep.backends.base import Backend
from smsweep.config_files.tuning_job import OBJECTIVE
from smsweep.core.job import MAX_FAILURE_REASON, JobStatus
from smsweep.emulator.faults import FaultInjector
from smsweep.emulator.jobs import warm_pools
from smsweep.emulator.jobs.builtin_algorithms import metric_definitions
from smsweep.emulator.jobs.job import Job, JobTable
from smsweep.emulator.jobs.moto_services import MetricReader, MotoServices
from smsweep.emulator.jobs.staging import Staging
from smsweep.emulator.jobs.warm_pools import Offer, offers
from smsweep.errors import JobError

log = logging.getLogger(__name__)

SPOT_SAVING = 0.7  # share of the training time that is not billed
CHECKPOINT_S = 1.0  # between two uploads of a job's checkpoints
TRANSFER_ERRORS = (OSError, JobError, Boto3Error, BotoCoreError, ClientError)


class JobLifecycle:
    """Moves jobs from one status to the next. Not safe for several threads.

    Args:
        table: All jobs.
        backend: Runs the jobs.
        staging: Transfers files between S3 and the jobs' folders.
        moto_services: Receives logs and events.
        faults: Faults that hit jobs.
        clock: Returns seconds since the epoch.
    """

    def __init__(
        self,
        table: JobTable,
        backend: Backend,
        staging: Staging,
        moto_services: MotoServices,
        faults: FaultInjector,
        clock: Callable[[], float],
    ) -> None:
        self._table = table
        self._backend = backend
        self._staging = staging
        self._moto_services = moto_services
        self._faults = faults
        self._clock = clock
        self._synced_at: dict[str, float] = {}  # job name -> time of the last upload of checkpoints
        self._stops: set[str] = set()  # names of jobs that the backend was asked to stop

    def step(self, job: Job, seen: JobStatus | None) -> None:
        """Move a job to its next status if it is due.

        Args:
            job: A job that has not ended.
            seen: The job's status in the backend; None if the backend does not know the job.
        """
        if not job.is_submitted:
            self._begin(job)
        elif seen is None:
            self._finish(job, "Failed", INTERNAL)
        else:
            self._copy_log(job)
            if seen.is_terminal:
                self._end(job, seen)
            else:
                self._follow(job, seen)

    def announce(self, job: Job) -> None:
        """Save a job's new status, and send its event."""
        self._table.save(job)
        self._moto_services.announce(job, times=self._faults.n_deliveries)

    def fail(self, job: Job) -> None:
        """End a job because of an error of the emulator."""
        self._backend.stop(job.name, grace_s=0)
        self._finish(job, "Failed", INTERNAL)

    def discard(self, name: str) -> None:
        """Remove a deleted job from the backend and from disk, so that its name is free."""
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
        """Select the first available instance type of the job. If none is available, the job waits or fails."""
        waited_s = self._clock() - job.since("Starting")
        for offer in offers(job):
            what = {"job": job.name, "instance_type": offer.instance_type, "region": job.region}
            rule = self._faults.find("no_capacity", what)
            if rule is None:
                self._select(job, offer)
                return True
            if waited_s < rule.after_s:
                if job.secondary_status != "Pending":
                    self._enter(job, "Pending")
                return False
            self._faults.take("no_capacity", what)
        self._finish(job, "Failed", CAPACITY)
        return False

    def _select(self, job: Job, offer: Offer) -> None:
        if "InstancePreferences" in job.resources:
            selected = {"SelectedInstanceType": offer.instance_type, "SelectedInstanceCount": offer.count}
            with self._table.lock:
                job.request["ResourceConfig"] = {**job.resources, **selected}

    def _submit(self, job: Job) -> None:
        try:
            prepared = self._staging.prepare(job)
            if job.restarts and job.limit("MaxRuntimeInSeconds") < float("inf"):
                left_s = job.limit("MaxRuntimeInSeconds") - job.seconds_in("Training")  # of all runs together
                prepared["StoppingCondition"] = {"MaxRuntimeInSeconds": max(1, round(left_s))}
            if job.is_stopping:
                return  # the job was stopped during the download; the next step ends it
            self._backend.submit(prepared)
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
            self._stop_in_backend(job)
        elif seen.status == "Stopping":
            self._stops.add(job.name)  # the backend stops the job because of MaxRuntimeInSeconds
            self._enter(job, "Stopping")
        elif now - job.created_at > job.limit("MaxWaitTimeInSeconds"):
            job.stop_reason = "MaxWaitTimeExceeded"
            self._enter(job, "Stopping")
        elif job.secondary_status == "Training":
            self._inject_faults(job, now - job.since("Training"))

    def _inject_faults(self, job: Job, trained_s: float) -> None:
        """Apply interruptions and internal errors to a job in training."""
        what = {"job": job.name, "region": job.region}
        if job.is_spot and self._faults.take("interrupt", what, age_s=trained_s):
            job.restart_status = "Interrupted"
            self._stop_in_backend(job)
        elif self._faults.take("internal_error", what, age_s=trained_s):
            may_restart = job.restarts < job.request.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0)
            job.restart_status = "Restarting" if may_restart else ""
            job.failure_reason = "" if may_restart else INTERNAL
            self._stop_in_backend(job, grace_s=0)

    def _stop_in_backend(self, job: Job, *, grace_s: float | None = None) -> None:
        if job.name not in self._stops:
            self._stops.add(job.name)
            self._backend.stop(job.name, grace_s=grace_s)

    def _end(self, job: Job, seen: JobStatus) -> None:
        if seen.started_at is not None and job.secondary_status == "Downloading":
            self._enter(job, "Training")  # the job ended between two ticks
        self._staging.sync_checkpoints(job)
        if job.restart_status and not job.is_stopping:
            self._restart(job)
            return
        if seen.status == "Stopped":
            self._enter(job, "Stopping")  # the backend has stopped it between two ticks
        if seen.started_at is not None or not job.is_stopping:
            self._enter(job, "Uploading")
        secondary, reason = _verdict(job, seen)
        try:
            self._staging.keep_artifacts(job)
        except TRANSFER_ERRORS as err:
            secondary, reason = "Failed", f"ClientError: Artifact upload failed: {err}"
        if secondary == "Completed" and job.is_stopping:
            secondary = "Stopped"  # the job was stopped during the upload
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
                return  # the job was stopped in the meantime
            if secondary_status == "Downloading" and job.started_at is None:
                job.started_at = job.modified_at
            if job.is_terminal:
                warm_pools.keep(job, job.modified_at, self._table.all(), self._faults.now.warm_pool_quota)
            self.announce(job)

    def _copy_log(self, job: Job) -> None:
        page = self._backend.read_logs(job.name, job.log_cursor)
        reader = MetricReader(metric_definitions(job.request))
        while page.lines:
            now = self._clock()
            self._moto_services.write_log(job, page.lines, now)
            values = reader.read(page.lines)
            self._moto_services.write_metrics(job, values, now)
            with self._table.lock:
                job.log_cursor = page.cursor
                job.final_metrics = {**job.final_metrics, **{name: (value, now) for name, value in values}}
                if job.tuning_job_arn:
                    objective = job.request["HyperParameters"][OBJECTIVE]
                    job.curve += [value for name, value in values if name == objective]
            page = self._backend.read_logs(job.name, job.log_cursor)


def _verdict(job: Job, seen: JobStatus) -> tuple[str, str]:
    """Return the last secondary status of a job, and the reason of its failure or ""."""
    if job.failure_reason:
        return "Failed", job.failure_reason
    if seen.status == "Failed" and not job.is_stopping:
        return "Failed", failure_reason(seen)
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


def failure_reason(seen: JobStatus) -> str:
    """Return the failure reason of a job whose container failed. A long reason is cut, but keeps the exit code."""
    if seen.exit_code is None:
        # The backend's message is for the user only if the job never ran, not if the job was lost.
        return INTERNAL if seen.is_lost else f"ClientError: {seen.failure_reason}"
    message = OUT_OF_MEMORY if seen.exit_code == KILLED else seen.failure_reason
    message = re.sub(rf"\Aexit code {seen.exit_code}\b(?:[,;:] (?:and )?)?", "", message)  # it is at the end
    ending = f", exit code: {seen.exit_code}"
    return f"AlgorithmError: {message}"[: MAX_FAILURE_REASON - len(ending)] + ending
