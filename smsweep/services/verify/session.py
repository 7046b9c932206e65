"""What a check can do: start jobs of the run, call AWS, and run commands of smsweep in the folder of the run."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import subprocess  # only argument lists, no shell # nosec B404
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from smsweep.aws.options import EVENTS_QUEUE, endpoint_url
from smsweep.backends.base import Backend, BackendContext
from smsweep.backends.registry import backend_spec, open_client
from smsweep.core.job import RUNTIME_ZIP, SOURCE_TAR, STOP_GRACE_S, JobStatus, JobTemplate, Price, Site
from smsweep.core.job import VARIABLE as HOOKS
from smsweep.core.sweep import Sweep, SweepConfig
from smsweep.core.trial import Trial
from smsweep.engine.job_request import training_job
from smsweep.errors import CapacityError, QuotaExceeded, SmsweepError
from smsweep.runtime.script.records import MARK
from smsweep.services.verify.run_state import TAG, RunState
from smsweep.services.workspace import Workspace
from smsweep.source.runtime_zip import runtime_zip
from smsweep.space.space import SearchSpace
from smsweep.store.base import Store
from smsweep.util.clock import utc_now

if TYPE_CHECKING:
    from smsweep.aws.client import Aws

log = logging.getLogger(__name__)

AWS, EMULATOR, LOCAL = "AWS", "the emulator", "this machine"  # where jobs run
MAX_RUN_S = 180  # limit of each job, if its check sets no other
SETUP_S = 600  # billed time of a job besides its script: download of the image and the data, upload of the results
START_S = 1800  # how long a job may wait for an instance
ANSWER_S = 120  # how long a backend may take to answer a call
LOCAL_S = 600  # how long a job may take on this machine, besides its script
PROGRAM = Path(__file__).with_name("job_program.py")
SCRIPT = "train.py"
VERIFY_MARK = "VERIFY "  # see job_program.py
VOLUME_GB = 30


T = TypeVar("T")
_LOCK = threading.RLock()  # checks prepare their files one after the other


class NotVerified(SmsweepError):
    """A check has no result: a permission is missing, or the platform did not reach the expected state."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What is known about the account before the first job."""

    backend: str
    place: str  # AWS, EMULATOR or LOCAL
    region: str = ""
    account: str = ""  # of the credentials
    instance_type: str = ""
    price_per_hour: float = 0.0  # dollars per instance; 0 on this machine
    quota: float | None = None  # instances of the type; None if unknown
    warm_pool_quota: float | None = None  # None if unknown
    runs_images: bool = False  # jobs run in their container image

    @property
    def is_priced(self) -> bool:
        return self.price_per_hour > 0

    def usd(self, instance_s: float) -> float:
        """Return the price of a number of seconds of one instance."""
        return instance_s / 3600 * self.price_per_hour


def job_seconds(max_run_s: float = MAX_RUN_S, *, instances: int = 1, idle_s: float = 0) -> float:
    """Return the most instance seconds that one job can be billed for.

    Args:
        max_run_s: MaxRuntimeInSeconds of the job.
        instances: Number of instances.
        idle_s: Seconds for which a warm pool can be kept.
    """
    return instances * (max_run_s + STOP_GRACE_S + SETUP_S + idle_s)


class Session:
    """The jobs and calls of one run. Each check that runs at the same time as others has its own session.

    Args:
        state: The state of the run, in its own folder.
        facts: The account.
        template: The template of all jobs; see `template_of`.
        environ: The user's environment variables; those of the emulator if jobs run there.
        parent: The session whose uploaded files this one uses, and which ends this one.
    """

    def __init__(
        self,
        state: RunState,
        facts: Facts,
        template: JobTemplate,
        environ: Mapping[str, str],
        parent: Session | None = None,
    ) -> None:
        self.state = state
        self.facts = facts
        self.template = template
        self.environ = environ
        self.folder = state.path.parent
        self.jobs: list[str] = []  # of the check that runs: their cost is not in the state
        self._parent = parent
        self._is_over: threading.Event = threading.Event() if parent is None else parent._is_over
        self._commands: set[subprocess.Popen[str]] = set() if parent is None else parent._commands
        self._spec = backend_spec(facts.backend)
        self._backend: Backend | None = None
        self._site: tuple[JobTemplate, Site] | None = None
        self._aws: Aws | None = None

    @property
    def backend(self) -> Backend:
        """The client of the backend."""
        if self._backend is None:
            self._backend = open_client(self.facts.backend, self._context())
        return self._backend

    @property
    def aws(self) -> Aws:
        """The client of the account."""
        if self._aws is None:
            from smsweep.aws.client import Aws as Client  # boto3 is slow to import

            self._aws = Client(self.environ)
        return self._aws

    @property
    def in_aws(self) -> bool:
        """True if jobs run in an AWS account, also that of the emulator."""
        return self.facts.place != LOCAL

    def without_retries(self, service: str) -> Any:
        """Return a client of boto3 that makes each call once. The caller closes it."""
        from botocore.config import Config  # boto3 is slow to import

        from smsweep.aws.client import open_session

        return open_session(self.environ).client(
            service,
            endpoint_url=endpoint_url(service, self.environ) or None,
            config=Config(retries={"total_max_attempts": 1}),
        )

    def in_region(self, region: str) -> Aws:
        """Return a client of another region. The caller closes it."""
        from smsweep.aws.client import Aws as Client  # boto3 is slow to import

        return Client({**self.environ, "AWS_REGION": region, "AWS_DEFAULT_REGION": region})

    def child(self) -> Session:
        """Return a session of the same run for a check that runs at the same time as others."""
        return Session(self.state, self.facts, self.template, self.environ, parent=self)

    def interrupt(self) -> None:
        """End the waits and the commands of the children. This session can still clean up."""
        self._is_over.set()
        with _LOCK:
            for process in self._commands:
                kill_group(process)

    @property
    def is_over(self) -> bool:
        """True if this session is that of a check, and the user has ended the run."""
        return self._parent is not None and self._is_over.is_set()

    def pause(self, seconds: float) -> None:
        """Sleep, until a job of this session ends. Raises NotVerified if the user has ended the run."""
        self.check_interrupt()
        self.backend.wait(seconds)

    def check_interrupt(self) -> None:
        """Raise NotVerified if the user has ended the run."""
        if self.is_over:
            raise NotVerified("the run was interrupted")

    def note_job(self, name: str) -> None:
        """Note a job that the check is about to create."""
        self.jobs.append(name)
        self.state.note("jobs", name)

    def close(self) -> None:
        """Close all clients. The jobs continue."""
        for client in (self._backend, self._aws):
            if client is not None:
                client.close()
        self._backend = self._aws = None

    def reopen(self) -> Backend:
        """Close the client of the backend and open another, as another process does."""
        if self._backend is not None:
            self._backend.close()
            self._backend = None
        return self.backend

    @property
    def uri(self) -> str:
        """The prefix for objects that the jobs of this run read, without a slash at the end."""
        return self._prepared()[1].assets_uri.rpartition("/")[0]

    @property
    def checkpoint_uri(self) -> str:
        """A prefix for the checkpoints of this run."""
        return f"{self._prepared()[1].checkpoint_uri}/{self.state.run}/shared"

    def put(self, name: str, data: bytes) -> str:
        """Store a file that jobs of this run can read as a channel, and return its URI.

        Args:
            name: Its path below `uri`.
            data: Its content. In S3, a name with a slash at the end is an empty object.
        """
        target = f"{self.uri}/{name}"
        if not self.in_aws:
            path = Path(target.removeprefix("file://"))
            path.parent.mkdir(parents=True, exist_ok=True)
            if not name.endswith("/"):
                path.write_bytes(data)
            return target
        bucket, _, key = target.removeprefix("s3://").partition("/")
        self.aws.translated("s3", "put_object", Bucket=bucket, Key=key, Body=data)
        return target

    def request(
        self,
        action: str,
        *,
        max_run_s: int = MAX_RUN_S,
        channels: Sequence[Mapping[str, Any]] = (),
        command: Sequence[str] = (),
        **fields: Any,
    ) -> dict[str, Any]:
        """Return the request of a new job. Its name is noted, so that the job can be cleaned up.

        Args:
            action: A function of job_program.py.
            max_run_s: The longest run of the job.
            channels: Further channels.
            command: The command that starts the script, with W&B's macros; () for the usual one.
            fields: Fields that replace those of the request. ResourceConfig is merged.
        """
        template, site = self._prepared()
        name = self.state.next_job()
        self.jobs.append(name)
        config = SweepConfig(method="grid", space=SearchSpace({}), program=SCRIPT)
        if command:
            config = replace(config, command=tuple(command), document={"command": [*command]})
        sweep = Sweep(id=self.state.run, config=config, job=template)
        trial = Trial(sweep_id=self.state.run, number=int(name.split("-")[2]), params={"action": action})
        request = {**training_job(template, sweep, trial, site), "TrainingJobName": name}
        request["StoppingCondition"] = {"MaxRuntimeInSeconds": max_run_s}
        request["InputDataConfig"] = [*request["InputDataConfig"], *channels]
        resources = fields.pop("ResourceConfig", {})
        if self.in_aws:
            request["ResourceConfig"] = {**request["ResourceConfig"], **resources}
        elif resources:
            request["ResourceConfig"] = {"InstanceType": "ml.m5.large", "VolumeSizeInGB": 1, **resources}
        return {**request, **fields}

    def submit(self, request: Mapping[str, Any]) -> str:
        """Start a job, and return its name. Wait while the quota is used up.

        Raises:
            JobError: If the job is refused.
            NotVerified: If the quota or the capacity is not free in time.
        """
        deadline = time.monotonic() + START_S
        while True:
            self.check_interrupt()
            try:
                self.backend.submit(request)
                return str(request["TrainingJobName"])
            except (QuotaExceeded, CapacityError) as err:
                if getattr(err, "limit", None) == 0 or time.monotonic() > deadline:
                    raise NotVerified(f"no instance is free: {err}") from err
            except SmsweepError as err:
                if not getattr(err, "retryable", False) or time.monotonic() > deadline:
                    raise
            self.backend.describe([])
            self.pause(1)

    def wait(
        self, name: str, holds: Callable[[JobStatus], bool] = lambda status: status.is_terminal, wait_s: float = 0
    ) -> JobStatus:
        """Wait for a condition of a job's status, and return the status.

        Args:
            name: The job.
            holds: The condition. The end of the job ends the wait in any case.
            wait_s: The longest wait; 0 for the time that a job can take.

        Raises:
            NotVerified: If the condition is not true in time.
        """
        deadline = time.monotonic() + (wait_s or (START_S if self.facts.place == AWS else LOCAL_S) + MAX_RUN_S)
        status = None
        while time.monotonic() < deadline:
            status = self._describe(name) or status
            if status is not None and (status.is_terminal or holds(status)):
                return status
            self.pause(0.1 if self.facts.place != AWS else 2)
        raise NotVerified(f"{name} did not reach the expected state; its last state is {status}")

    def _describe(self, name: str) -> JobStatus | None:
        try:
            return self.backend.describe([name]).get(name)
        except SmsweepError as err:
            if not getattr(err, "retryable", False):
                raise
            return None

    def run(self, action: str, **fields: Any) -> JobStatus:
        """Run a job to its end. Arguments: see `request`."""
        return self.wait(self.submit(self.request(action, **fields)))

    def run_all(self, requests: Sequence[Mapping[str, Any]]) -> list[JobStatus]:
        """Run jobs, at the same time as far as the quota allows, to their ends."""
        names = [self.submit(request) for request in requests]
        return [self.wait(name) for name in names]

    def wait_for_document(self, name: str, key: str) -> dict[str, Any]:
        """Wait until the script of a job has reported a document with a key, and return the document."""
        found: list[dict[str, Any]] = []

        def has_reported(status: JobStatus) -> bool:
            found[:] = [each for each in self.documents(name) if key in each]
            return bool(found)

        status = self.wait(name, has_reported)
        if not found and not has_reported(status):
            raise NotVerified(f"{name} did not report {key}; the job is {status.status}: {status.failure_reason}")
        return found[0]

    def lines(self, name: str) -> list[str]:
        """Return the log of a job, with the records of the runtime.

        Raises:
            NotVerified: If the backend does not return the whole log in time.
        """
        deadline = time.monotonic() + ANSWER_S
        lines: list[str] = []
        cursor = ""
        while time.monotonic() < deadline:
            page = self.backend.read_logs(name, cursor)
            lines += page.lines
            if page.is_last or (page.cursor == cursor and not page.is_behind):
                return lines
            if page.cursor == cursor:
                self.backend.describe([name])
                self.pause(0.1)
            cursor = page.cursor
        raise NotVerified(f"{name}: the backend did not return the log in {ANSWER_S} s")

    def whole_log(self, name: str) -> list[str]:
        """Return the log of an ended job, as soon as the backend has read it to its end."""
        deadline = time.monotonic() + LOCAL_S
        lines: list[str] = []
        cursor = ""
        while time.monotonic() < deadline:
            self._describe(name)
            page = self.backend.read_logs(name, cursor)
            lines += page.lines
            cursor = page.cursor
            if page.is_last:
                return lines
            self.pause(0.1 if self.facts.place != AWS else 1)
        raise NotVerified(f"{name}: the log has no end after {LOCAL_S} s")

    def documents(self, name: str) -> list[dict[str, Any]]:
        """Return what the script of a job has reported so far."""
        return documents_in(self.lines(name))

    def description(self, name: str) -> dict[str, Any]:
        """Return the answer of DescribeTrainingJob."""
        return dict(self.aws.translated("sagemaker", "describe_training_job", TrainingJobName=name))

    def status(self, name: str) -> JobStatus | None:
        """Return the status of a job; None if it does not exist. Wait while the backend limits the rate of calls.

        Raises:
            JobError: If the backend has no answer in time.
        """
        return self.patiently(lambda: self.backend.describe([name])).get(name)

    def patiently(self, call: Callable[[], T]) -> T:
        """Call the backend. Repeat the call while the backend limits the rate of calls.

        Raises:
            JobError: If the backend has no answer in time.
        """
        deadline = time.monotonic() + ANSWER_S
        while True:
            try:
                return call()
            except SmsweepError as err:
                if not getattr(err, "retryable", False) or time.monotonic() > deadline:
                    raise
            self.pause(0.5)

    def end(self, name: str) -> JobStatus | None:
        """Stop a job, wait for its end, and end its warm pool. Return its status; None if it does not exist."""
        status = self.status(name)
        if status is not None and not status.is_terminal:
            self.backend.stop(name, grace_s=0)
            status = self.wait(name)
        if status is not None and self.facts.backend == "sagemaker":
            pool = self.description(name).get("WarmPoolStatus", {})
            if pool.get("Status") == "Available":
                none = {"KeepAlivePeriodInSeconds": 0}
                self.aws.translated("sagemaker", "update_training_job", TrainingJobName=name, ResourceConfig=none)
        return status

    def billed_s(self, status: JobStatus) -> float | None:
        """Return the billed instance seconds of an ended job; None if they are unknown."""
        results = status.results
        if results is None or results.billable_s is None:
            return 0.0 if status.started_at is None else None  # a job without a start had no instance
        idle_s = 0.0
        if self.facts.backend == "sagemaker":
            pool = self.description(status.name).get("WarmPoolStatus", {})
            idle_s = pool.get("ResourceRetainedBillableTimeInSeconds", 0)
        return (results.billable_s + idle_s) * results.instance_count

    def store(self) -> AbstractContextManager[Store]:
        """Open the store of the run's own workspace."""
        return Workspace(self._own_environ()).store()

    def _own_environ(self) -> dict[str, str]:
        own = {**self.environ, "SMSWEEP_DIR": str(self.folder / "sweep" / ".smsweep")}
        own.pop("SMSWEEP_STORE", None)
        return own

    def smsweep(self, *arguments: str, environ: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a command of smsweep in its own workspace in the folder of the run.

        Args:
            arguments: The arguments of the command.
            environ: Environment variables that replace those of the run. An empty value removes a variable.
        """
        folder = self.sweep_folder()
        variables = {name: value for name, value in {**self._own_environ(), **(environ or {})}.items() if value}
        argv = [sys.executable, "-m", "smsweep", *arguments]
        with (self.folder / "commands.log").open("a", encoding="utf-8") as errors, _LOCK:
            self.check_interrupt()
            process = subprocess.Popen(  # nosec B603 - an argument list of this module
                argv,
                cwd=folder,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
            self._commands.add(process)
            return process

    def sweep_folder(self) -> Path:
        """Return the folder of the run's own workspace, with the script of its sweeps."""
        folder = self.folder / "sweep"
        with _LOCK:
            folder.mkdir(exist_ok=True)
            if not (folder / SCRIPT).exists():
                (folder / SCRIPT).write_bytes(PROGRAM.read_bytes())
        return folder

    def finish(self, process: subprocess.Popen[str], timeout_s: float | None = None) -> str:
        """Wait for a command, and return its output."""
        try:
            return process.communicate(timeout=timeout_s)[0]
        finally:
            if process.returncode is not None:
                with _LOCK:
                    self._commands.discard(process)

    def command(self, *arguments: str, environ: Mapping[str, str] | None = None) -> str:
        """Run a command of smsweep as `smsweep` does, and return its output. Raises NotVerified if it fails."""
        process = self.smsweep(*arguments, environ=environ)
        try:
            output = self.finish(process, START_S)
        except BaseException:  # the command must not continue without this process
            kill_group(process)
            self.finish(process)
            raise
        if process.returncode:
            log_file = self.folder / "commands.log"
            tail = " ".join(log_file.read_text(encoding="utf-8", errors="replace").splitlines()[-3:])
            raise NotVerified(f"smsweep {' '.join(arguments)}: exit code {process.returncode}: {tail[-400:]}")
        return output

    def _context(self) -> BackendContext:
        zip_file = self.folder / RUNTIME_ZIP
        with _LOCK:
            if not zip_file.exists():
                zip_file.write_bytes(runtime_zip())
        return BackendContext(
            jobs_dir=self.folder / "jobs",
            runtime_zip=zip_file,
            environ=self.environ,
            clock=lambda: utc_now().timestamp(),
        )

    def _prepared(self) -> tuple[JobTemplate, Site]:
        """Put the program and the runtime where jobs can read them. Return the template and the places."""
        if self._parent is not None:
            with _LOCK:
                return self._parent._prepared()
        if self._site is None:
            assets = self.folder / "assets" / "program"
            if not assets.exists():
                assets.mkdir(parents=True)
                (assets / RUNTIME_ZIP).write_bytes(runtime_zip())
                _write_source(assets / SOURCE_TAR)
            if self.in_aws:
                self._site = self._upload(assets)
            else:
                self._site = self._spec.prepare(self.template, assets, self.folder, self.environ, upload=True)
        return self._site

    def _upload(self, assets: Path) -> tuple[JobTemplate, Site]:
        # Not the shared prefix of sources: other sweeps must not depend on objects that the run deletes.
        from smsweep.aws.job_template import ASSETS, PREFIX, bucket_of, prepare  # boto3 is slow to import

        bucket, _ = bucket_of(self.template.request, self.facts.region)
        output = (
            self.template.request.get("OutputDataConfig", {}).get("S3OutputPath") or f"s3://{bucket}/{PREFIX}/jobs"
        )
        prefix = f"{ASSETS}/verify/{self.state.run}"
        for uri in (
            f"s3://{bucket}/{prefix}/",
            f"s3://{bucket}/{PREFIX}/checkpoints/{self.state.run}/",
            f"{output.rstrip('/')}/smsweep-{self.state.run}-",
            f"{output.rstrip('/')}/AWSBatchsmsweep-{self.state.run}-",  # AWS Batch names its training jobs
        ):
            self.state.note("prefixes", uri)
        return prepare(self.template, assets, self.folder, self.environ, upload=True, prefix=prefix)


def kill_group(process: subprocess.Popen[str]) -> None:
    """Kill a command and the processes that it has started, if they still run."""
    with suppress(ProcessLookupError, PermissionError):  # macOS refuses the signal if all of them have ended
        os.killpg(process.pid, signal.SIGKILL)


def template_of(template: JobTemplate, facts: Facts, run: str) -> JobTemplate:
    """Return the template of the jobs of a run: only role, image, network, keys and output are the user's."""
    request = {
        name: template.request[name]
        for name in ("RoleArn", "VpcConfig", "OutputDataConfig")
        if name in template.request
    }
    image = template.request.get("AlgorithmSpecification", {}).get("TrainingImage")
    if image:
        request["AlgorithmSpecification"] = {"TrainingImage": image}
    if facts.place != LOCAL:
        request["ResourceConfig"] = {
            "InstanceType": facts.instance_type,
            "InstanceCount": 1,
            "VolumeSizeInGB": VOLUME_GB,
        }
        key = template.request.get("ResourceConfig", {}).get("VolumeKmsKeyId")
        if key:
            request["ResourceConfig"]["VolumeKmsKeyId"] = key
        request["Tags"] = [{"Key": TAG, "Value": run}]
    price = Price(per_hour=facts.price_per_hour) if facts.is_priced else None
    return replace(
        JobTemplate(), request=request, framework=template.framework, sbatch=template.sbatch, price=price
    )


def documents_in(lines: Sequence[str]) -> list[dict[str, Any]]:
    """Return the documents that a script has reported in a log."""
    return list(_documents(lines))


def _documents(lines: Sequence[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        _, mark, text = line.partition(MARK)[0].partition(VERIFY_MARK)
        if mark:
            with suppress(ValueError):
                yield json.loads(text)


def _write_source(path: Path) -> None:
    data = PROGRAM.read_bytes()
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo(SCRIPT)
        member.size = len(data)
        member.mode = 0o644
        tar.addfile(member, io.BytesIO(data))


def user_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables of a run.

    The PATH of this Python is first, so that commands use the same smsweep. Hooks and the queue of job events are
    absent, because they belong to the user's agents.
    """
    path = environ.get("PATH", os.defpath)
    kept = {name: value for name, value in environ.items() if name not in (EVENTS_QUEUE, HOOKS)}
    return {**kept, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{path}"}
