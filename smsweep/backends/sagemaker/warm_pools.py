"""Instances kept for the next trial: let go of once there is none."""

from __future__ import annotations

import logging

from smsweep.aws.client import Aws
from smsweep.backends.sagemaker.job_poller import PAGE, common_prefix
from smsweep.core.job import TrainingJobRequest
from smsweep.errors import JobError

log = logging.getLogger(__name__)


class WarmPools:
    """Remembers which jobs of this client ask for their instances to be kept."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._names: set[str] = set()

    def note(self, request: TrainingJobRequest) -> None:
        if request.get("ResourceConfig", {}).get("KeepAlivePeriodInSeconds"):
            self._names.add(request["TrainingJobName"])

    def note_found(self, name: str) -> None:
        """Take over a job of an agent that is gone; nobody here knows whether it asked for that."""
        self._names.add(name)

    def release(self) -> None:
        """Let go of what these jobs left idle: it costs as much as a running job. Never raises."""
        if not self._names:
            return
        try:
            for name in self._idle() & self._names:
                self._aws.translated(
                    "sagemaker",
                    "update_training_job",
                    TrainingJobName=name,
                    ResourceConfig={"KeepAlivePeriodInSeconds": 0},
                )
                log.info("%s: its warm pool is let go", name)
        except JobError as err:
            log.warning("warm pools of %s could not be let go and end by themselves: %s", self._prefix, err)
        self._names.clear()

    @property
    def _prefix(self) -> str:
        return common_prefix(sorted(self._names))

    def _idle(self) -> set[str]:
        """Return the jobs with an idle pool; of several jobs that shared one, only the last has it."""
        found: set[str] = set()
        token = ""  # a page's # nosec B105
        while True:
            more = {"NextToken": token} if token else {}
            answer = self._aws.translated(
                "sagemaker",
                "list_training_jobs",
                NameContains=self._prefix,
                WarmPoolStatusEquals="Available",
                MaxResults=PAGE,
                **more,
            )
            found |= {summary["TrainingJobName"] for summary in answer["TrainingJobSummaries"]}
            token = answer.get("NextToken", "")
            if not token:
                return found
