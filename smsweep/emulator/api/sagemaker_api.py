"""SageMaker API: dispatch of calls about training jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from werkzeug.wrappers import Response

from smsweep.aws import request_model
from smsweep.emulator import api_error
from smsweep.emulator.api import protocol, validation
from smsweep.emulator.api.paging import list_training_jobs
from smsweep.emulator.api.protocol import Call
from smsweep.emulator.api.search import search
from smsweep.emulator.api.tags import Tags
from smsweep.emulator.api.training_jobs import TrainingJobs
from smsweep.emulator.fault_injector import FaultInjector
from smsweep.emulator.jobs.job import Job
from smsweep.emulator.jobs.job_table import JobTable

Handler = Callable[[dict[str, Any], str], dict[str, Any] | None]  # (request, region) -> answer

TAG_ACTIONS = ("AddTags", "ListTags", "DeleteTags")


class SageMakerApi:
    """Handles all calls about training jobs.

    Args:
        table: All jobs.
        jobs: Handles calls about one job.
        faults: Has the delay until new jobs are visible.
        clock: Returns seconds since the epoch.
    """

    def __init__(
        self, table: JobTable, jobs: TrainingJobs, faults: FaultInjector, clock: Callable[[], float]
    ) -> None:
        self._table = table
        self._faults = faults
        self._clock = clock
        tags = Tags(table)
        self._handlers: Mapping[str, Handler] = {
            "CreateTrainingJob": jobs.create,
            "DescribeTrainingJob": jobs.describe,
            "StopTrainingJob": jobs.stop,
            "UpdateTrainingJob": jobs.update,
            "DeleteTrainingJob": jobs.delete,
            "ListTrainingJobs": lambda request, region: list_training_jobs(self._visible(region), request),
            "Search": lambda request, region: search(self._visible(region), request),
            "AddTags": tags.add,
            "ListTags": tags.list,
            "DeleteTags": tags.delete,
        }

    def serves(self, call: Call, request: Mapping[str, Any]) -> bool:
        """Return True if the call is about training jobs. moto handles the rest of SageMaker."""
        if call.service != "sagemaker" or call.action not in self._handlers:
            return False
        if call.action == "Search":
            return request.get("Resource") in ("TrainingJob", None)
        if call.action in TAG_ACTIONS:
            return ":training-job/" in str(request.get("ResourceArn", ":training-job/"))
        return True

    def check(self, call: Call, request: Mapping[str, Any]) -> None:
        """Raise ApiError if the call is not a valid call of SageMaker."""
        if not request_model.is_operation(call.action):
            raise api_error.no_such_action(call.action)
        validation.check(call.action, request)

    def answer(self, call: Call, request: dict[str, Any]) -> Response:
        """Return the response to a call that `check` has accepted. Raises ApiError."""
        document = self._handlers[call.action](protocol.without_nulls(request), call.region)
        shape = request_model.operation(call.action).output_shape
        return protocol.answer(call, None if shape is None else protocol.fit_to_model(shape, document or {}))

    def _visible(self, region: str) -> list[Job]:
        """Return the jobs that ListTrainingJobs and Search can see."""
        latest = self._clock() - self._faults.now.visible_after_s
        return [job for job in self._table.all() if job.region == region and job.created_at <= latest]


def subject(request: Mapping[str, Any]) -> str:
    """Return the subject of a request: a training job's name, an ARN or a prefix; "" if it has none."""
    for name in ("TrainingJobName", "jobName", "ResourceArn", "NameContains", "logStreamNamePrefix"):
        if isinstance(request.get(name), str):
            return str(request[name])
    return ""
