"""All jobs of a name's beginning that an account has, ended ones included: for who knows of none of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

from smsweep.aws.client import Aws
from smsweep.backends.aws_batch.service_jobs import JobQueue, pages
from smsweep.core.job import TrainingJobRequest


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
