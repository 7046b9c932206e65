"""Find the training jobs of a sweep in an account, ended ones included."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from smsweep.aws.client import Aws
from smsweep.aws.options import SageMakerOptions
from smsweep.backends.sagemaker.job_poller import PAGE
from smsweep.backends.sagemaker.rate_limit import RateLimits
from smsweep.core.job import TrainingJobRequest
from smsweep.errors import Throttled

PAUSE_S = 0.05  # between two attempts to take a token


def find_jobs(prefix: str, jobs_dir: Path, environ: Mapping[str, str]) -> Iterator[TrainingJobRequest]:
    """Find training jobs in the account and region. See `spec.FindJobs`. Raises JobError."""
    del jobs_dir  # the jobs do not run on this machine
    with closing(Aws(environ)) as aws:
        rates = RateLimits(SageMakerOptions.from_environ(environ).rates, time.monotonic)
        token: dict[str, str] = {}
        while True:
            wanted = {"NameContains": prefix, "MaxResults": PAGE, **token}
            page = _call(aws, rates, "ListTrainingJobs", "list_training_jobs", wanted)
            for name in (summary["TrainingJobName"] for summary in page["TrainingJobSummaries"]):
                if name.startswith(prefix):
                    job = {"TrainingJobName": name}
                    yield _call(aws, rates, "DescribeTrainingJob", "describe_training_job", job)
            if "NextToken" not in page:
                return
            token = {"NextToken": page["NextToken"]}


def _call(
    aws: Aws, rates: RateLimits, action: str, operation: str, arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """Call within the rate, and again after a throttled call. Raises JobError."""
    while True:
        while not rates.take(action):
            time.sleep(PAUSE_S)
        try:
            answer = aws.translated("sagemaker", operation, **arguments)
        except Throttled:
            rates.note(action, was_throttled=True)
        else:
            rates.note(action, was_throttled=False)
            return answer
