"""The training job that goes on with a sweep when the time of its agent's is over."""

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

MARGIN = timedelta(minutes=20)  # before its own time is over an agent has a successor started
AGAIN = timedelta(minutes=1)  # between two tries
KEPT = (  # of what DescribeTrainingJob shows
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
    """Sees to it that a sweep that outlasts its agent's job has a next one.

    names: the sweep's agents so far, the last of them this one. began_at: when this one first did.
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
        """Return when this job's time began to count, which is before the agent did; None where nobody says."""
        try:
            with closing(Aws(self._environ)) as aws:
                answer = aws.translated("sagemaker", "describe_training_job", TrainingJobName=self._own)
        except JobError as err:
            log.debug("%s", err)
            return None
        found: datetime | None = answer.get("TrainingStartTime")
        return found

    def is_due(self) -> bool:
        """Tell whether this agent's time is over: its successor has been started."""
        if self._clock() < self._due_at:
            return False
        try:
            with closing(Aws(self._environ)) as aws:
                document = aws.translated("sagemaker", "describe_training_job", TrainingJobName=self._own)
                tags = aws.translated("sagemaker", "list_tags", ResourceArn=document["TrainingJobArn"])["Tags"]
                start(aws, succeed(document, tags, self._name))
        except JobError as err:
            log.warning("no successor yet: %s", err)
            self._due_at = self._clock() + AGAIN
            return False
        log.warning("the time of this job is over soon; training job %s goes on", self._name)
        return True


def succeed(document: Mapping[str, Any], tags: Sequence[Mapping[str, str]], name: str) -> dict[str, Any]:
    """Return the request of a job like one that DescribeTrainingJob has shown. tags: that one's own."""
    made = {field: document[field] for field in KEPT if document.get(field)}
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
