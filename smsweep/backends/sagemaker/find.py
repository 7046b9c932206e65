"""All jobs of a name's beginning that an account has, ended ones included: for who knows of none of them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from smsweep.backends.sagemaker.client import Aws
from smsweep.backends.sagemaker.options import SageMakerOptions
from smsweep.backends.sagemaker.rates import Rates
from smsweep.backends.sagemaker.service_jobs import JobQueue, pages
from smsweep.backends.sagemaker.watch import PAGE
from smsweep.errors import Throttled
from smsweep.jobs import TrainingJobRequest

LOOK_S = 0.05  # between two looks whether it is our turn


def find_jobs(beginning: str, folder: Path, environ: Mapping[str, str]) -> Iterator[TrainingJobRequest]:
    """See backends.table.FindJobs. Raises JobError."""
    del folder
    with closing(Aws(environ)) as aws:
        rates = Rates(SageMakerOptions.from_environ(environ).rates, time.monotonic)
        token: dict[str, str] = {}
        while True:
            wanted = {"NameContains": beginning, "MaxResults": PAGE, **token}
            page = _in_turn(aws, rates, "ListTrainingJobs", "list_training_jobs", wanted)
            for name in (summary["TrainingJobName"] for summary in page["TrainingJobSummaries"]):
                if name.startswith(beginning):
                    job = {"TrainingJobName": name}
                    yield _in_turn(aws, rates, "DescribeTrainingJob", "describe_training_job", job)
            if "NextToken" not in page:
                return
            token = {"NextToken": page["NextToken"]}


def find_queued_jobs(beginning: str, folder: Path, environ: Mapping[str, str]) -> Iterator[TrainingJobRequest]:
    """Likewise for a queue of AWS Batch, those that wait in it included."""
    del folder
    queue, token = JobQueue.from_environ(environ), ""
    with closing(Aws(environ)) as aws:
        while True:
            found, token = pages(aws, queue, f"{beginning}*", token)
            for job in found:
                answer = aws.translated("batch", "describe_service_job", jobId=job.id)
                yield json.loads(answer["serviceRequestPayload"])
            if not token:
                return


def _in_turn(aws: Aws, rates: Rates, action: str, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Call as often as AWS asks to wait, and no faster than it allows. Raises JobError."""
    while True:
        while not rates.take(action):
            time.sleep(LOOK_S)
        try:
            answer = aws.translated("sagemaker", operation, **arguments)
        except Throttled:
            rates.note(action, was_throttled=True)
        else:
            rates.note(action, was_throttled=False)
            return answer
