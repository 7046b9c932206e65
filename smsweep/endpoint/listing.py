"""ListTrainingJobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from smsweep.endpoint import paging
from smsweep.endpoint.documents import summary
from smsweep.endpoint.job import Job

DEFAULT_SIZE = 10

SORT_KEYS: Mapping[str, Callable[[Job], tuple[Any, ...]]] = {
    "Name": lambda job: (job.name,),
    "CreationTime": lambda job: (job.created_at, job.name),
    "Status": lambda job: (job.status, job.name),
}
# Filter -> whether a job passes it
FILTERS: Mapping[str, Callable[[Job, Any], bool]] = {
    "NameContains": lambda job, text: text in job.name,
    "CreationTimeAfter": lambda job, at: job.created_at > at,
    "CreationTimeBefore": lambda job, at: job.created_at < at,
    "LastModifiedTimeAfter": lambda job, at: job.modified_at > at,
    "LastModifiedTimeBefore": lambda job, at: job.modified_at < at,
    "WarmPoolStatusEquals": lambda job, status: job.warm_pool.get("Status") == status,
    "TrainingPlanArnEquals": lambda job, arn: job.resources.get("TrainingPlanArn") == arn,
}


def list_training_jobs(jobs: Sequence[Job], request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer with one page. As AWS documents it, StatusEquals looks only at the page, which may come out short."""
    tests = [(FILTERS[name], request[name]) for name in FILTERS if name in request]
    shown, token = paging.page(
        [job for job in jobs if all(passes(job, value) for passes, value in tests)],
        SORT_KEYS[request.get("SortBy", "CreationTime")],
        request.get("NextToken"),
        request.get("MaxResults", DEFAULT_SIZE),
        is_reverse=request.get("SortOrder", "Descending") == "Descending",
    )
    wanted = request.get("StatusEquals")
    answer: dict[str, Any] = {
        "TrainingJobSummaries": [summary(job) for job in shown if wanted in (None, job.status)]
    }
    if token:
        answer["NextToken"] = token
    return answer
