"""Training jobs on SageMaker: every call rated, every answer that may get lost asked for again.

Nothing waits inside: what must wait for its turn is taken up at a later `describe`, so that one slow API never
keeps the others, or an agent's leases, waiting.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from smsweep.aws.client import Aws
from smsweep.aws.errors import code_of, message_of
from smsweep.aws.job_template import check_place, prepare
from smsweep.aws.options import SageMakerOptions
from smsweep.aws.prices import ask_price
from smsweep.aws.request_check import validate
from smsweep.backends.sagemaker.backoff import Gates
from smsweep.backends.sagemaker.cloudwatch import Logs
from smsweep.backends.sagemaker.doctor import diagnose
from smsweep.backends.sagemaker.events import Events
from smsweep.backends.sagemaker.job_poller import Watch
from smsweep.backends.sagemaker.list_jobs import find_jobs
from smsweep.backends.sagemaker.rate_limit import Rates
from smsweep.backends.sagemaker.status import adopt
from smsweep.backends.sagemaker.warm_pools import WarmPools
from smsweep.backends.spec import BackendSpec
from smsweep.core.failure_kind import CAPACITY
from smsweep.core.job import JobStatus, LogPage, TrainingJobRequest
from smsweep.errors import JobRejected, QuotaExceeded, Throttled

log = logging.getLogger(__name__)

EVENTS = "ReceiveMessage"
LESS_OFTEN = 6  # times less often the jobs are listed where events tell of them
NAME_TAKEN = "ResourceInUse"
# "The account-level service limit '...' is 3 Instances, with current utilization of 2 Instances and a request
# delta of 2 Instances."
QUOTA = re.compile(r"\bis (\d+) (\w+), with .*? request delta of (\d+) \2\b", re.DOTALL)


class SageMakerBackend:
    """Runs each job as a training job of the account and region that `environ` leads to.

    clock: seconds since the epoch. monotonic: seconds.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        options = SageMakerOptions.from_environ(environ)
        self._aws = Aws(environ)
        self._clock = clock
        self._rates = Rates(options.rates, monotonic)
        self._events = Events(self._aws, options.events_queue) if options.events_queue else None
        # With events the lists are only the net below: an event may get lost.
        list_s = options.poll_s * (LESS_OFTEN if self._events else 1)
        self._watch = Watch(self._aws, self._rates, list_s, clock, monotonic)
        self._pools = WarmPools(self._aws)
        self._logs = Logs(self._aws, self._rates, options.poll_s, options.log_lag_s, monotonic)
        self._gates = Gates(monotonic)
        self._kinds: dict[str, str] = {}  # by live job: what its quota is counted by
        self._to_stop: set[str] = set()

    @property
    def place(self) -> str:
        return f"sagemaker@{self._aws.region}"

    def submit(self, request: TrainingJobRequest) -> None:
        name, kind = request["TrainingJobName"], machine_kind(request)
        if self._watch.get(name) is not None:
            return
        self._gates.check(kind, self._n_live(kind))
        validate(request)
        self._rates.demand("CreateTrainingJob")
        status = self._create(request, kind)
        self._kinds[name] = kind
        self._gates.open(kind, self._n_live(kind))
        self._pools.note(request)
        self._watch.add(status)
        if status.is_terminal:
            self._note_end(status)
        else:
            self._logs.follow(name, started_ms=round(self._aws.now(self._clock).timestamp() * 1000))

    def describe(self, names: Collection[str]) -> dict[str, JobStatus]:
        self._pump()
        found = {}
        for name in names:
            status = self._watch.get(name)
            if status is None and (status := self._find(name)) is not None:
                self._pools.note_found(name)
            if status is not None:
                found[name] = status
        return found

    def stop(self, name: str, *, grace_s: float | None = None) -> None:
        del grace_s  # SageMaker's is always 120 s
        status = self._watch.get(name)
        if status is None or not status.is_terminal:
            self._to_stop.add(name)
            self._stop_some()

    def read_logs(self, name: str, cursor: str = "") -> LogPage:
        if self._watch.get(name) is None and self._find(name) is None:
            return LogPage(lines=(), cursor=cursor)
        return self._logs.read(name, cursor)

    def forget(self, name: str) -> None:
        # The job and its artifacts stay where they are, for the person.
        self._watch.drop(name)
        self._logs.forget(name)
        self._kinds.pop(name, None)
        self._to_stop.discard(name)

    def wait(self, timeout_s: float) -> None:
        time.sleep(timeout_s)

    def close(self) -> None:
        self._pools.release()
        self._aws.close()

    def _pump(self) -> None:
        """Do what is due of all that waits for its turn. Raises JobError."""
        self._stop_some()
        live = self._watch.live()
        if self._events and live and self._rates.take(EVENTS):
            for name in self._events.receive():
                self._watch.hurry(name)
        try:
            self._watch.poll()
        finally:  # one job may have been seen to end before the look at another failed
            for name in live:
                status = self._watch.get(name)
                if status is not None and status.is_terminal:
                    self._note_end(status)
        self._logs.poll()

    def _create(self, request: TrainingJobRequest, kind: str) -> JobStatus:
        """Start the job, or find it started. Raises JobError."""
        name = request["TrainingJobName"]
        try:
            self._aws.call("sagemaker", "create_training_job", **request)
        except (BotoCoreError, ClientError) as err:
            if isinstance(err, ClientError) and code_of(err) == NAME_TAKEN:
                log.info("%s: there is one already", name)
                return adopt(self._aws, request)
            found = self._aws.error(err, "sagemaker", "create_training_job")
            if isinstance(found, QuotaExceeded):
                found = quota_exceeded(err)
                self._gates.close(kind, found, self._n_live(kind))
            self._rates.note("CreateTrainingJob", was_throttled=isinstance(found, Throttled))
            raise found from err
        self._rates.note("CreateTrainingJob", was_throttled=False)
        return JobStatus(name=name, status="InProgress", secondary_status="Starting")

    def _find(self, name: str) -> JobStatus | None:
        """Look for a job that another agent has started. Raises JobError."""
        status = self._watch.find(name)
        if status is not None and status.is_terminal:
            self._note_end(status)
        return status

    def _stop_some(self) -> None:
        for name in sorted(self._to_stop):
            if not self._rates.take("StopTrainingJob"):
                return
            if self._stop(name):
                self._to_stop.discard(name)

    def _stop(self, name: str) -> bool:
        """Tell one job to end; False when AWS is too busy."""
        try:
            self._aws.call("sagemaker", "stop_training_job", TrainingJobName=name)
        except (BotoCoreError, ClientError) as err:
            found = self._aws.error(err, "sagemaker", "stop_training_job")
            if isinstance(found, Throttled):
                self._rates.note("StopTrainingJob", was_throttled=True)
                return False
            if not isinstance(found, JobRejected):  # else it has ended, or there is no such job: as wanted
                raise found from err
            return True
        self._rates.note("StopTrainingJob", was_throttled=False)
        self._watch.note_stopping(name)
        return True

    def _note_end(self, status: JobStatus) -> None:
        results = status.results
        self._logs.note_end(status.name, results.instance_count * results.n_runs if results else 1)
        kind = self._kinds.pop(status.name, "")
        if kind and status.failure_class == CAPACITY:
            self._gates.close_for_capacity(kind, status.failure_reason)

    def _n_live(self, kind: str) -> int:
        return sum(other == kind for other in self._kinds.values())


def machine_kind(request: Mapping[str, Any]) -> str:
    """Return what AWS counts a quota by: the type of machine, and whether on the spot market."""
    resources = request.get("ResourceConfig", {})
    groups = [*resources.get("InstanceGroups", ()), *resources.get("InstancePreferences", ())]
    types = sorted({group["InstanceType"] for group in groups}) or [resources.get("InstanceType", "")]
    return "+".join(types) + (" (spot)" if request.get("EnableManagedSpotTraining") else "")


def quota_exceeded(err: BotoCoreError | ClientError) -> QuotaExceeded:
    """Return AWS's words without its advice, and the limit that they name."""
    said = message_of(err).partition(" Please ")[0] if isinstance(err, ClientError) else str(err)
    found = QUOTA.search(said)
    limit = int(found[1]) if found and found[2] == "Instances" else None
    if found and int(found[3]) > int(found[1]):
        said += " That is more than the whole limit: raise it (AWS Service Quotas), or ask for less in job.yaml."
    return QuotaExceeded(f"waiting for quota: {said}", limit=limit)


SPEC = BackendSpec(
    open=lambda context: SageMakerBackend(context.environ, context.clock),
    prepare=prepare,
    check_settings=check_place,
    check_request=validate,
    find_jobs=find_jobs,
    ask_price=ask_price,
    diagnose=diagnose,
)
