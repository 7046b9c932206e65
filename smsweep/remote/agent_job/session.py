"""The session of an agent in a training job, and the job that succeeds it before its time ends."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smsweep.aws.client import Aws
from smsweep.backends.base import Backend
from smsweep.errors import JobError, SmsweepError
from smsweep.remote.agent_job.guarded_backend import GuardedBackend
from smsweep.remote.agent_job.request import DEADLINE, MAX_RUN_S, TAG_AGENT
from smsweep.remote.agent_jobs import start
from smsweep.remote.record import JOB, NAMES, own_job
from smsweep.remote.s3_store.remote_sweeps import RemoteSweeps, refuse_second
from smsweep.remote.s3_store.s3_object import S3Store
from smsweep.remote.s3_store.writer import Writer
from smsweep.store.base import ParseStored, Store

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import TagTypeDef

log = logging.getLogger(__name__)

FINAL_SAVE_S = 300.0  # longest wait for the last save of an agent that has finished
FAILURE_SAVE_S = 10.0  # the same for an agent that fails, or is stopped
LONGEST_PAUSE_S = 30.0  # between two attempts
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
        return answer.get("TrainingStartTime")

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


def succeed(document: Mapping[str, Any], tags: Sequence[TagTypeDef], name: str) -> dict[str, Any]:
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


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentSession:
    """The store of the sweep, and a function that wraps the backend."""

    store: Store
    guard: Callable[[Backend], GuardedBackend]


@contextmanager
def agent_session(
    workspace_dir: Path,
    environ: Mapping[str, str],
    parse: ParseStored,
    sweep_id: str,
    agent_id: str,
    clock: Callable[[], datetime],
) -> Iterator[AgentSession]:
    """Become the writer of a sweep's store until the `with` block ends, then save the store.

    Args:
        workspace_dir: Folder of the workspace.
        environ: Environment variables.
        parse: Parses the stored sweep.yaml.
        sweep_id: The sweep.
        agent_id: The agent.
        clock: Returns the current time.

    Raises:
        UsageError: If another agent works on the sweep.
        StoreUnavailable: If S3 does not respond.
        StoreError: If the store cannot be read or written.
        JobError: If SageMaker does not respond.
    """
    away = RemoteSweeps(workspace_dir, environ, parse)
    job = own_job(environ)
    try:
        refuse_second(away, sweep_id, environ)
        s3_store = away.s3_store(sweep_id)
        with tempfile.TemporaryDirectory(prefix="smsweep-") as folder:
            writer = Writer(s3_store, sweep_id, Path(folder), parse, job or agent_id)
            heartbeat: dict[str, Any] = {"job": job, "agent_id": agent_id}
            try:
                successor = None
                if job:
                    began_at = datetime.fromisoformat(writer.note_job(job, clock().isoformat()))
                    successor = Successor(environ, sweep_id, away.jobs(sweep_id, writer.store), began_at, clock)
                writer.run_commands()

                def guard(backend: Backend) -> GuardedBackend:
                    is_over = successor.is_due if successor else (lambda: False)
                    return GuardedBackend(backend, writer, s3_store, clock, heartbeat, is_over)

                yield AgentSession(store=writer.store, guard=guard)
            except BaseException:
                _save_and_release(writer, s3_store, agent_id, heartbeat, FAILURE_SAVE_S)
                raise
            else:
                if err := _save_and_release(writer, s3_store, agent_id, heartbeat, FINAL_SAVE_S):
                    raise err  # the changes since the last save are lost
            finally:
                writer.close()
    finally:
        away.close()


def _save_and_release(
    writer: Writer, s3_store: S3Store, agent_id: str, heartbeat: dict[str, Any], patience_s: float
) -> SmsweepError | None:
    """Release all leases and save the store. Return the last error, or None.

    patience_s: how long to retry, in seconds.
    """
    pauses_s = (2.0**n for n in count())
    deadline = time.monotonic() + patience_s
    while True:
        try:
            writer.store.release(agent_id)  # so that the next agent does not wait for the leases to expire
            writer.save()
            s3_store.write_heartbeat({**heartbeat, "is_over": True})
            return None
        except SmsweepError as err:
            pause_s = min(next(pauses_s), LONGEST_PAUSE_S)
            if not err.retryable or time.monotonic() + pause_s > deadline:
                log.warning("%s", err)
                return err
            log.warning("%s; trying again", err)
        time.sleep(pause_s)
