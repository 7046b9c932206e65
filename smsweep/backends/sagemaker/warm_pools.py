"""Release the warm pools of jobs when no trial needs them any more."""

from __future__ import annotations

import logging

from smsweep.aws.client import Aws
from smsweep.backends.sagemaker.job_poller import PAGE, common_prefix
from smsweep.core.job import TrainingJobRequest
from smsweep.errors import JobError

log = logging.getLogger(__name__)


class WarmPools:
    """Stores which jobs of this client have a warm pool."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._names: set[str] = set()

    def note(self, request: TrainingJobRequest) -> None:
        if request.get("ResourceConfig", {}).get("KeepAlivePeriodInSeconds"):
            self._names.add(request["TrainingJobName"])

    def note_found(self, name: str) -> None:
        """Add a job of an earlier agent, which may have a warm pool."""
        self._names.add(name)

    def release(self) -> None:
        """Release the idle pools of these jobs, which cost as much as running jobs. Never raises JobError."""
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
                log.info("%s: its warm pool was released", name)
        except JobError as err:
            log.warning("warm pools of %s were not released and end at their timeout: %s", self._prefix, err)
        self._names.clear()

    @property
    def _prefix(self) -> str:
        return common_prefix(sorted(self._names))

    def _idle(self) -> set[str]:
        """Return the jobs with an idle pool. Of several jobs that share a pool, only the last has it."""
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
