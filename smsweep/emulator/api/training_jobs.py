"""The API of training jobs: dispatch of calls, the calls about one job, and its tags."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from werkzeug.wrappers import Response

from smsweep.aws import request_model
from smsweep.core.job import MAX_TAGS
from smsweep.emulator import api_error
from smsweep.emulator.api import paging, protocol, support, validation
from smsweep.emulator.api.documents import description, search_record, tag_list, tag_map
from smsweep.emulator.api.paging import list_training_jobs, search
from smsweep.emulator.api.protocol import Call
from smsweep.emulator.api.tuning_jobs import RESOURCE, TuningJobs
from smsweep.emulator.api.validation import HasObjects
from smsweep.emulator.api_error import job_arn
from smsweep.emulator.faults import FaultInjector
from smsweep.emulator.jobs import warm_pools
from smsweep.emulator.jobs.job import Job, JobTable
from smsweep.emulator.jobs.tuning_job import TuningRecord, TuningTable

Request = dict[str, Any]
Document = dict[str, Any]
Handler = Callable[[dict[str, Any], str], dict[str, Any] | None]  # (request, region) -> answer
TAGGED = (":training-job/", f":{RESOURCE}/")  # ARNs of resources whose tags are not in moto
TAG_ACTIONS = ("AddTags", "ListTags", "DeleteTags")
DEFAULT_SIZE = 50


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

    def create(self, request: Request, region: str, *, tuning_job_arn: str = "") -> Document:
        """Return the response of CreateTrainingJob. Raises ApiError.

        Args:
            request: The request.
            region: Region of the call.
            tuning_job_arn: The tuning job that launches the job; "" if the user does.
        """
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
                tuning_job_arn=tuning_job_arn,
            )
            jobs = [other for other in self._table.all() if other.region == region]
            pool = warm_pools.reusable(job, jobs)
            limit = self._faults.now.quota
            if limit is not None:
                warm_pools.check_quota(job, [other for other in jobs if other is not pool], limit)
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


class SageMakerApi:
    """Handles all calls about training jobs.

    Args:
        table: All jobs.
        jobs: Handles calls about one job.
        tuning_table: All tuning jobs.
        tuning_jobs: Handles calls about tuning jobs.
        faults: Has the delay until new jobs are visible.
        clock: Returns seconds since the epoch.
    """

    def __init__(
        self,
        table: JobTable,
        jobs: TrainingJobs,
        tuning_table: TuningTable,
        tuning_jobs: TuningJobs,
        faults: FaultInjector,
        clock: Callable[[], float],
    ) -> None:
        self._table = table
        self._faults = faults
        self._clock = clock
        self._tuning_jobs = tuning_jobs
        tags = Tags(table, tuning_table)
        self._handlers: Mapping[str, Handler] = {
            "CreateTrainingJob": jobs.create,
            "DescribeTrainingJob": jobs.describe,
            "StopTrainingJob": jobs.stop,
            "UpdateTrainingJob": jobs.update,
            "DeleteTrainingJob": jobs.delete,
            "ListTrainingJobs": lambda request, region: list_training_jobs(self._visible(region), request),
            "Search": lambda request, region: search(request["Resource"], self._records(request, region), request),
            "AddTags": tags.add,
            "ListTags": tags.list,
            "DeleteTags": tags.delete,
            **tuning_jobs.handlers,
        }

    @property
    def served(self) -> frozenset[str]:
        """The operations that the emulator serves itself."""
        return frozenset(self._handlers)

    def serves(self, call: Call, request: Mapping[str, Any]) -> bool:
        """Return True if the call is about training jobs or tuning jobs. moto handles the rest of SageMaker."""
        if call.service != "sagemaker" or call.action not in self._handlers:
            return False
        if call.action == "Search":
            return request.get("Resource") in ("TrainingJob", "HyperParameterTuningJob", None)
        if call.action in TAG_ACTIONS:
            return any(kind in str(request.get("ResourceArn", kind)) for kind in TAGGED)
        return True

    def find_job(self, arn: str) -> Job | None:
        """Return the job with an ARN, or None."""
        job = self._table.get(arn.rpartition("/")[2])
        return job if job is not None and job.arn == arn else None

    def check(self, call: Call, request: Mapping[str, Any]) -> None:
        """Raise ApiError if the call is not a valid call of SageMaker, or if the emulator refuses it."""
        if not request_model.is_operation(call.action):
            raise api_error.no_such_action(call.action)
        is_own = call.action in self._handlers
        if not is_own and (support.starts_work(call.action) or not support.has_records(call.action)):
            raise api_error.not_served(call.service, call.action, support.alternative(call.action))
        validation.check(call.action, request)

    def answer(self, call: Call, request: dict[str, Any]) -> Response:
        """Return the response to a call that `check` has accepted. Raises ApiError."""
        document = self._handlers[call.action](protocol.without_nulls(request), call.region)
        shape = request_model.operation(call.action).output_shape
        return protocol.answer(call, None if shape is None else protocol.fit_to_model(shape, document or {}))

    def _records(self, request: Request, region: str) -> list[Document]:
        """Return the records that Search can see."""
        if request["Resource"] == "HyperParameterTuningJob":
            return self._tuning_jobs.search_records(region)
        return [search_record(job) for job in self._visible(region)]

    def _visible(self, region: str) -> list[Job]:
        """Return the jobs that ListTrainingJobs and Search can see."""
        latest = self._clock() - self._faults.now.visible_after_s
        return [job for job in self._table.all() if job.region == region and job.created_at <= latest]


def subject(request: Mapping[str, Any]) -> str:
    """Return the subject of a request: a training job's name, an ARN or a prefix; "" if it has none."""
    for name in (
        "TrainingJobName",
        "HyperParameterTuningJobName",
        "jobName",
        "ResourceArn",
        "NameContains",
        "logStreamNamePrefix",
    ):
        if isinstance(request.get(name), str):
            return str(request[name])
    return ""


class Tags:
    """Handles calls about tags.

    Args:
        table: All jobs.
        tuning_table: All tuning jobs, with the same lock.
    """

    def __init__(self, table: JobTable, tuning_table: TuningTable) -> None:
        self._table = table
        self._tuning_table = tuning_table

    def add(self, request: dict[str, Any], region: str) -> dict[str, Any]:
        """Return the response of AddTags."""
        added = tag_map(request["Tags"])
        with self._table.lock:
            job = self._find(request)
            tags = {**job.tags, **added}
            if len(tags) > MAX_TAGS:
                raise api_error.invalid(f"A resource may have at most {MAX_TAGS} tags.")
            job.tags = tags
            self._save(job)
            return {"Tags": tag_list(tags)}

    def list(self, request: dict[str, Any], region: str) -> dict[str, Any]:
        """Return the response of ListTags."""
        with self._table.lock:
            tags = tag_list(self._find(request).tags)
        by_key: Callable[[dict[str, str]], tuple[str]] = lambda tag: (tag["Key"],)  # noqa: E731 - mypy needs the type
        page_items, token = paging.page(
            tags, by_key, request.get("NextToken"), request.get("MaxResults", DEFAULT_SIZE), is_reverse=False
        )
        return {"Tags": page_items, **({"NextToken": token} if token else {})}

    def delete(self, request: dict[str, Any], region: str) -> dict[str, Any]:
        """Return the response of DeleteTags."""
        with self._table.lock:
            job = self._find(request)
            job.tags = {key: value for key, value in job.tags.items() if key not in request["TagKeys"]}
            self._save(job)
        return {}

    def _save(self, job: Job | TuningRecord) -> None:
        if isinstance(job, Job):
            self._table.save(job)
        else:
            self._tuning_table.save(job)

    def _find(self, request: dict[str, Any]) -> Job | TuningRecord:
        arn = request["ResourceArn"]
        table = self._tuning_table if f":{RESOURCE}/" in arn else self._table
        job = table.get(arn.rpartition("/")[2])
        if job is None or job.arn != arn:
            raise api_error.no_such_resource(arn)
        return job
