"""Find the jobs of a sweep in a queue of AWS Batch, ended ones included."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

from smsweep.aws.client import Aws
from smsweep.backends.aws_batch.service_jobs import JobQueue, pages
from smsweep.core.job import TrainingJobRequest


def find_queued_jobs(prefix: str, jobs_dir: Path, environ: Mapping[str, str]) -> Iterator[TrainingJobRequest]:
    """Find jobs of the queue, waiting ones included. See `spec.FindJobs`. Raises JobError, UsageError."""
    del jobs_dir  # the jobs do not run on this machine
    queue, token = JobQueue.from_environ(environ), ""
    with closing(Aws(environ)) as aws:
        while True:
            found, token = pages(aws, queue, f"{prefix}*", token)
            for job in found:
                answer = aws.translated("batch", "describe_service_job", jobId=job.id)
                yield json.loads(answer["serviceRequestPayload"])
            if not token:
                return
