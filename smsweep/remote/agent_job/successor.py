"""Successor of an agent's training job, which continues the sweep before the job reaches its maximum run time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

from smsweep.aws.client import Aws
from smsweep.errors import JobError
from smsweep.remote.agent_job.request import DEADLINE, MAX_RUN_S, TAG_AGENT
from smsweep.remote.agent_jobs import start
from smsweep.remote.record import JOB, NAMES

log = logging.getLogger(__name__)

MARGIN = timedelta(minutes=20)  # a successor starts this long before the maximum run time
RETRY = timedelta(minutes=1)  # between two attempts
COPIED_FIELDS = (  # of DescribeTrainingJob
    "RoleArn",
    "AlgorithmSpecification",
    "HyperParameters",
    "InputDataConfig",
    "OutputDataConfig",
    "ResourceConfig",
    "StoppingCondition",
    "EnableManagedSpotTraining",
    "RetryStrategy",
    "Environment",
    "VpcConfig",
)


class Successor:
    """Starts the next training job of an agent before this one reaches its maximum run time.

    Args:
        environ: Environment variables of this job.
        sweep_id: The sweep.
        names: Names of the sweep's agent jobs, this one last.
        began_at: Time when this agent first started.
        clock: Returns the current time.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        sweep_id: str,
        names: Sequence[str],
        began_at: datetime,
        clock: Callable[[], datetime],
    ) -> None:
        self._environ = environ
        self._own = environ[JOB]
        number = int(self._own.rpartition("-")[2]) + 1
        self._name = NAMES.format(sweep_id=sweep_id, number=max(number, len(names)))
        allowed = timedelta(seconds=float(environ.get(DEADLINE) or MAX_RUN_S))
        self._due_at = min(began_at, self._started_at() or began_at) + max(allowed - MARGIN, allowed / 2)
        self._clock = clock

    def _started_at(self) -> datetime | None:
        """Return the job's start time (earlier than the agent's), or None if unknown."""
        try:
            with closing(Aws(self._environ)) as aws:
                answer = aws.translated("sagemaker", "describe_training_job", TrainingJobName=self._own)
        except JobError as err:
            log.debug("%s", err)
            return None
        found: datetime | None = answer.get("TrainingStartTime")
        return found

    def is_due(self) -> bool:
        """Start the successor if it is due, and return True once it has started."""
        if self._clock() < self._due_at:
            return False
        try:
            with closing(Aws(self._environ)) as aws:
                document = aws.translated("sagemaker", "describe_training_job", TrainingJobName=self._own)
                tags = aws.translated("sagemaker", "list_tags", ResourceArn=document["TrainingJobArn"])["Tags"]
                start(aws, succeed(document, tags, self._name))
        except JobError as err:
            log.warning("cannot start the next agent job: %s; trying again", err)
            self._due_at = self._clock() + RETRY
            return False
        log.warning("this job reaches its maximum run time soon; training job %s continues the sweep", self._name)
        return True


def succeed(document: Mapping[str, Any], tags: Sequence[Mapping[str, str]], name: str) -> dict[str, Any]:
    """Return the request of the next job.

    Args:
        document: Response of DescribeTrainingJob for the current job.
        tags: Tags of the current job.
        name: Name of the next job.
    """
    made = {field: document[field] for field in COPIED_FIELDS if document.get(field)}
    made["AlgorithmSpecification"] = {
        key: value for key, value in made["AlgorithmSpecification"].items() if value and key != "MetricDefinitions"
    }
    own = [{"Key": tag["Key"], "Value": tag["Value"]} for tag in tags if not tag["Key"].startswith("aws:")]
    return {
        **made,
        "TrainingJobName": name,
        "Environment": {**document["Environment"], JOB: name},
        "Tags": [*(tag for tag in own if tag["Key"] != TAG_AGENT), {"Key": TAG_AGENT, "Value": name}],
    }
