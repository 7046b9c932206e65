"""Service jobs of AWS Batch: a queue that creates training jobs within the quota of the account.

Any queue name is valid. Jobs over the quota wait, and each call tries again to start them.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from smsweep.emulator.api import paging, protocol, validation
from smsweep.emulator.api.training_jobs import TrainingJobs
from smsweep.emulator.api_error import ACCOUNT, ApiError, job_arn
from smsweep.emulator.jobs.job import Job, JobTable

PATHS: Mapping[str, str] = {
    f"/v1/{name.lower()}": name
    for name in ("SubmitServiceJob", "DescribeServiceJob", "ListServiceJobs", "TerminateServiceJob")
}
PREFIX = "AWSBatch"  # prefix of the training job names that the queue generates
PAGE = 100
EARLY = ("Starting", "Pending")  # secondary statuses of a training job whose service job is SCHEDULED


@dataclass(kw_only=True, slots=True)
class _ServiceJob:
    id: str
    region: str
    request: dict[str, Any]  # SubmitServiceJob request
    created_ms: int
    training_job: str = ""
    failure: str = ""
    was_terminated: bool = False


class ServiceJobs:
    """Handles calls of AWS Batch about service jobs.

    Args:
        table: All training jobs.
        jobs: Creates and stops training jobs.
        clock: Returns seconds since the epoch.
    """

    def __init__(self, table: JobTable, jobs: TrainingJobs, clock: Callable[[], float]) -> None:
        self._table = table
        self._training_jobs = jobs
        self._clock = clock
        self._jobs: dict[str, _ServiceJob] = {}
        self._lock = threading.RLock()

    def answer(self, action: str, request: dict[str, Any], region: str) -> dict[str, Any]:
        """Return the response document of a call. Raises ApiError."""
        validation.check(action, request)
        handlers = {
            "SubmitServiceJob": self._submit,
            "DescribeServiceJob": self._describe,
            "ListServiceJobs": self._list,
            "TerminateServiceJob": self._terminate,
        }
        with self._lock:
            answer = handlers[action](request, region)
            self._schedule()
        return answer

    def _submit(self, request: dict[str, Any], region: str) -> dict[str, Any]:
        token = request.get("clientToken")
        if token and any(job.request.get("clientToken") == token for job in self._jobs.values()):
            raise _refused(f"clientToken {token} has been used for another job")
        _payload(request)
        job = _ServiceJob(
            id=str(uuid.uuid4()), region=region, request=request, created_ms=round(self._clock() * 1000)
        )
        self._jobs[job.id] = job
        return {"jobId": job.id, "jobArn": _arn(job), "jobName": request["jobName"]}

    def _describe(self, request: dict[str, Any], region: str) -> dict[str, Any]:
        self._schedule()
        job = self._find(request)
        kept = ("serviceRequestPayload", "retryStrategy", "schedulingPriority", "shareIdentifier", "tags")
        return {
            **self._summary(job),
            "jobQueue": job.request["jobQueue"],
            "attempts": [],
            **{name: job.request[name] for name in kept if name in job.request},
        }

    def _list(self, request: dict[str, Any], region: str) -> dict[str, Any]:
        self._schedule()
        summaries = [self._summary(job) for job in self._jobs.values() if job.region == region]
        filters = request.get("filters") or ()
        if filters:
            summaries = [item for item in summaries if _matches(item, filters[0])]
        else:
            wanted = request.get("jobStatus", "RUNNING")
            summaries = [item for item in summaries if item["status"] == wanted]
        page_items, token = paging.page(
            summaries,
            lambda item: (item["createdAt"], item["jobId"]),
            request.get("nextToken"),
            request.get("maxResults", PAGE),
            is_reverse=True,
        )
        return {"jobSummaryList": page_items, **({"nextToken": token} if token else {})}

    def _terminate(self, request: dict[str, Any], region: str) -> dict[str, Any]:
        job = self._find(request)
        if self._status(job)[0] in ("SUCCEEDED", "FAILED"):
            return {}
        job.was_terminated = True
        if job.training_job:
            self._training_jobs.stop({"TrainingJobName": job.training_job}, job.region)
        else:
            job.failure = request["reason"]
        return {}

    def _schedule(self) -> None:
        """Create training jobs within the quota, in order of priority."""
        waiting = [job for job in self._jobs.values() if not job.training_job and not job.failure]
        for job in sorted(waiting, key=lambda job: -job.request.get("schedulingPriority", 0)):
            payload = _payload(job.request)
            name = f"{PREFIX}{payload['TrainingJobName'][:40]}{job.id[:8]}"
            try:
                validation.check("CreateTrainingJob", payload)
                self._training_jobs.create(
                    {**protocol.without_nulls(payload), "TrainingJobName": name}, job.region
                )
            except ApiError as err:
                if err.code != "ResourceLimitExceeded":
                    job.failure = f"{err.code}: {err.message}"
                continue
            job.training_job = name

    def _summary(self, job: _ServiceJob) -> dict[str, Any]:
        status, reason = self._status(job)
        training_arn = job_arn(job.region, job.training_job)
        attempt = {"serviceResourceId": {"name": "TrainingJobArn", "value": training_arn}}
        return {
            "jobId": job.id,
            "jobArn": _arn(job),
            "jobName": job.request["jobName"],
            "serviceJobType": job.request["serviceJobType"],
            "createdAt": job.created_ms,
            "startedAt": job.created_ms,
            "status": status,
            "isTerminated": job.was_terminated,
            **({"statusReason": reason} if reason else {}),
            **({"latestAttempt": attempt} if job.training_job else {}),
        }

    def _status(self, job: _ServiceJob) -> tuple[str, str]:
        """Return the status of a service job, and its reason or ""."""
        if not job.training_job:
            return ("FAILED", job.failure) if job.failure else ("RUNNABLE", "")
        training = self._table.get(job.training_job)
        return ("FAILED", "the training job was deleted") if training is None else _status_of(training)

    def _find(self, request: Mapping[str, Any]) -> _ServiceJob:
        job = self._jobs.get(request["jobId"])
        if job is None:
            raise _refused(f"service job {request['jobId']} does not exist")
        return job


def _status_of(job: Job) -> tuple[str, str]:
    if job.status == "Completed":
        return "SUCCEEDED", ""
    if job.is_terminal:
        return "FAILED", job.failure_reason or f"the training job is {job.status}"
    if job.secondary_status in EARLY:
        return "SCHEDULED", ""
    return ("STARTING" if job.secondary_status == "Downloading" else "RUNNING"), ""


def _matches(summary: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    if wanted["name"] != "JOB_NAME":
        raise _refused(f"filter {wanted['name']}: the emulator supports only JOB_NAME")
    name, (value, *_) = summary["jobName"].lower(), wanted["values"]
    prefix, star, _ = value.lower().partition("*")
    return bool(name.startswith(prefix) if star else name == prefix)


def _payload(request: Mapping[str, Any]) -> dict[str, Any]:
    try:
        payload = json.loads(request["serviceRequestPayload"])
    except ValueError as err:
        raise _refused(f"serviceRequestPayload is not JSON: {err}") from err
    if not isinstance(payload, dict) or not isinstance(payload.get("TrainingJobName"), str):
        raise _refused("serviceRequestPayload is not a CreateTrainingJob request with a TrainingJobName")
    return payload


def _arn(job: _ServiceJob) -> str:
    return f"arn:aws:batch:{job.region}:{ACCOUNT}:service-job/{job.id}"


def _refused(message: str) -> ApiError:
    return ApiError("ClientException", message)
