"""Jobs on a SLURM cluster: one sbatch job for each trial, with its folder on the shared file system."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import re
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from smsweep.backends.base import BackendSpec, Check
from smsweep.backends.local import request_fields
from smsweep.backends.local.job_files import DamagedFile, read_page, read_text
from smsweep.backends.local.job_folder import SECONDARY_BY_STOP, JobFolder, StopOrder
from smsweep.backends.local.opt_ml import local_channels
from smsweep.backends.process.backend import create_folder, job_environment
from smsweep.backends.process.fork_client import ended_status
from smsweep.core.job import STOP_GRACE_S, JobStatus, JobTemplate, LogPage, Site, TrainingJobRequest
from smsweep.core.resources import Resources
from smsweep.errors import BackendUnavailable, JobError, JobRejected, QuotaExceeded, SmsweepError, UsageError
from smsweep.secrets.redact import check_local_secrets, secret_values

PROGRAM = Path(__file__).with_name("job_program.py")
OPTIONS = "SlurmOptions"  # field of the request: the options of sbatch
MARK = "slurm"  # file in the job's folder; only this backend writes it
GONE_S = 20.0  # a job that SLURM does not list may have written files that the shared file system shows later
WARNING_S = 150  # from SIGTERM to SLURM's time limit, so that the script can save a checkpoint
LIMIT_EXTRA_S = 600  # SLURM's time limit is later than max_run, which the agent enforces
KILL_PAUSE_S = 5.0  # between the signals of a job whose grace period has ended
OPTION = re.compile(r"[a-z][a-z0-9-]+", re.ASCII)
OWNED = ("array", "chdir", "error", "job-name", "output", "parsable", "requeue", "wrap")  # only smsweep sets them
POLL_S = 2.0  # between two calls of squeue
CALL_S = 60.0  # longest call
LIMIT = re.compile(r"\w*(?:MaxSubmit|MaxJobs|JobLimit)\w*|violates accounting/QOS policy", re.I)
AWAY = re.compile(r"timed out|unable to contact|connection refused|temporarily|zero bytes were transmitted", re.I)


@dataclass(frozen=True, kw_only=True, slots=True)
class QueuedJob:
    """A job that squeue lists."""

    state: str  # PENDING, RUNNING, COMPLETING, ...
    reason: str  # why it is pending, such as Resources or Priority


class SlurmQueue:
    """The jobs of this user on the cluster.

    Args:
        environ: The environment of the commands.
        monotonic: The time in seconds.
    """

    def __init__(self, environ: Mapping[str, str], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._environ = environ
        self._monotonic = monotonic
        self._user = str(os.getuid())
        self._jobs: dict[str, QueuedJob] = {}
        self._read_at: float | None = None

    def cluster(self) -> str:
        """Return the name of the cluster."""
        config = self._call("scontrol", "show", "config")
        match = re.search(r"^ClusterName\s*=\s*(\S+)", config, re.M)
        return match[1] if match else "cluster"

    def jobs(self, *, is_fresh: bool = False) -> Mapping[str, QueuedJob]:
        """Return job name -> job, at most POLL_S old. is_fresh: ask now."""
        now = self._monotonic()
        if is_fresh or self._read_at is None or now - self._read_at >= POLL_S:
            lines = self._call("squeue", "--noheader", f"--user={self._user}", "--format=%j|%T|%r").splitlines()
            fields = (line.split("|", 2) for line in lines if line.count("|") >= 2)
            self._jobs = {name: QueuedJob(state=state, reason=reason) for name, state, reason in fields}
            self._read_at = now
        return self._jobs

    def submit(self, options: Mapping[str, str], program: Sequence[str], environ: Mapping[str, str]) -> str:
        """Submit a job and return its id.

        Args:
            options: Long options of sbatch without dashes; "" for an option without a value.
            program: The script and its arguments.
            environ: The environment of the job.

        Raises:
            JobRejected: If SLURM never accepts the job.
            QuotaExceeded: If a limit on the number of jobs is reached.
            BackendUnavailable: If SLURM does not answer.
        """
        flags = [f"--{name}={value}" if value else f"--{name}" for name, value in options.items()]
        self._read_at = None
        return self._call("sbatch", "--parsable", *flags, *program, environ=environ).strip().partition(";")[0]

    def signal(self, name: str, signal: str) -> None:
        """Signal the program of a running job. A pending job is cancelled."""
        self._call("scancel", "--quiet", f"--user={self._user}", f"--name={name}", "--state=PENDING")
        self._call("scancel", "--quiet", f"--user={self._user}", f"--name={name}", "--batch", f"--signal={signal}")
        self._read_at = None

    def cancel(self, name: str) -> None:
        """End a job with all its processes."""
        self._call("scancel", "--quiet", f"--user={self._user}", f"--name={name}")
        self._read_at = None

    def _call(self, *argv: str, environ: Mapping[str, str] | None = None) -> str:
        try:
            done = subprocess.run(
                argv,
                env=dict(environ or self._environ),
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=CALL_S,
                stdin=subprocess.DEVNULL,
            )
        except FileNotFoundError:
            raise JobError(
                f"{argv[0]} is not installed on this machine; run the agent on a login node of the cluster"
            ) from None
        except (OSError, subprocess.TimeoutExpired) as err:
            raise BackendUnavailable(f"{argv[0]}: {err}") from err
        if done.returncode == 0:
            return done.stdout
        message = f"{argv[0]}: {' '.join(done.stderr.split()) or f'exited with code {done.returncode}'}"
        if LIMIT.search(message):
            raise QuotaExceeded(message)
        if argv[0] != "sbatch" or AWAY.search(message):
            raise BackendUnavailable(message)
        raise JobRejected(f"{message}; change sbatch in job.yaml")


class SlurmBackend:
    """Runs each job with sbatch, in a folder below `root` that the nodes share with this machine.

    SLURM knows a job by its name, so the agent finds it again after a crash between sbatch and its answer.

    Args:
        root: The folder that contains the jobs' folders.
        runtime_zip: The program that runs inside a job.
        environ: The environment variables that jobs inherit.
        clock: The time in seconds since the epoch.
    """

    def __init__(
        self, root: Path, runtime_zip: Path, environ: Mapping[str, str], clock: Callable[[], float]
    ) -> None:
        self._root = root.absolute()
        self._runtime_zip = runtime_zip.absolute()
        self._environ = job_environment(environ)
        self._clock = clock
        self._queue = SlurmQueue(environ)
        self._ended: dict[str, JobStatus] = {}  # final statuses, which are read once
        self._gone_since: dict[str, float] = {}  # job -> when SLURM did not list it first
        self._killed_at: dict[str, float] = {}  # job -> when it was signalled last, after its grace period

    @property
    def place(self) -> str:
        return f"slurm@{self._cluster}"

    @functools.cached_property
    def _cluster(self) -> str:
        return self._queue.cluster()

    def submit(self, request: TrainingJobRequest) -> None:
        folder = self._folder(request["TrainingJobName"])
        if not os.path.lexists(folder.path):
            create_folder(folder, request, mark=MARK)
        if folder.has_started() or folder.name in self._queue.jobs(is_fresh=True):
            return
        environ = {
            **self._environ,
            **request.get("Environment", {}),
            **secret_values(request, self._environ),
            "SMSWEEP_ML_ROOT": str(folder.ml()),
            "TRAINING_JOB_NAME": folder.name,
        }
        options = {
            "job-name": folder.name,
            "chdir": str(folder.path),
            "output": str(folder.path / "slurm.log"),
            "open-mode": "append",
            "no-requeue": "",  # the agent starts the next attempt
            **request.get(OPTIONS, {}),
        }
        arguments = request.get("AlgorithmSpecification", {}).get("ContainerArguments", [])
        program = [str(PROGRAM), str(self._runtime_zip), str(folder.path)]
        self._queue.submit(options, [*program, "--pid-file", str(folder.path / "group"), *arguments], environ)
        self._gone_since.pop(folder.name, None)

    def describe(self, names: Collection[str]) -> dict[str, JobStatus]:
        statuses = {}
        for name in names:
            status = self._ended.get(name) or self._read_status(self._folder(name))
            if status is not None:
                statuses[name] = status
        return statuses

    def stop(self, name: str, *, grace_s: float | None = None) -> None:
        folder = self._folder(name)
        if name in self._ended or not folder.exists():
            return
        with contextlib.suppress(DamagedFile):
            self._order_stop(folder, "person", STOP_GRACE_S if grace_s is None else grace_s)

    def read_logs(self, name: str, cursor: str = "") -> LogPage:
        folder = self._folder(name)
        try:
            is_complete = name in self._ended or folder.exit_code() is not None
            return read_page(folder.log(), cursor, is_complete=is_complete)
        except DamagedFile:
            return LogPage(lines=(), cursor=cursor, is_last=True)

    def forget(self, name: str) -> None:
        # The folder stays for the user: log, model, and the files that the script wrote.
        for known in (self._ended, self._gone_since, self._killed_at):
            known.pop(name, None)

    def wait(self, timeout_s: float) -> None:
        time.sleep(timeout_s)

    def close(self) -> None:
        pass

    def _folder(self, name: str) -> JobFolder:
        return JobFolder(self._root / name)

    def _read_status(self, folder: JobFolder) -> JobStatus | None:
        try:
            status = self._status(folder)
        except DamagedFile as err:
            self._queue.cancel(folder.name)
            status = _failed(folder, str(err))
        if status is not None and status.is_terminal:
            self._ended[folder.name] = status
        return status

    def _status(self, folder: JobFolder) -> JobStatus | None:
        if not folder.exists():
            return None
        started_at = folder.started_at()
        if (exited_at := folder.exited_at()) is not None:
            return ended_status(folder, folder.stop_order(), started_at or exited_at)
        job = self._queue.jobs().get(folder.name)
        if job is None:
            return self._unlisted(folder)
        self._gone_since.pop(folder.name, None)
        order = folder.stop_order()
        if order is not None:
            self._enforce(folder, order)
            return JobStatus(
                name=folder.name, status="Stopping", secondary_status="Stopping", started_at=started_at
            )
        if started_at is None:
            secondary = "Pending" if job.state == "PENDING" else "Starting"
            return JobStatus(name=folder.name, status="InProgress", secondary_status=secondary)
        if self._clock() - started_at.timestamp() > folder.max_runtime_s():
            self._order_stop(folder, "max_runtime", STOP_GRACE_S)
        return JobStatus(name=folder.name, status="InProgress", secondary_status="Training", started_at=started_at)

    def _unlisted(self, folder: JobFolder) -> JobStatus | None:
        """Return the status of a job that has no exit code and that SLURM does not list."""
        since = self._gone_since.setdefault(folder.name, self._clock())
        started_at, order = folder.started_at(), folder.stop_order()
        if self._clock() - since < GONE_S and (started_at is not None or order is None):
            if started_at is None:
                return None  # it was not submitted, or was cancelled before its start: the agent submits it
            return JobStatus(
                name=folder.name, status="InProgress", secondary_status="Training", started_at=started_at
            )
        if order is not None:
            secondary = SECONDARY_BY_STOP[order.by]
            return JobStatus(name=folder.name, status="Stopped", secondary_status=secondary, started_at=started_at)
        if started_at is None:
            return None
        reason = f"SLURM ended the job without an exit code: {_tail(folder)}"
        return replace(_failed(folder, reason.rstrip(": ")), is_lost=True, started_at=started_at)

    def _order_stop(self, folder: JobFolder, by: str, grace_s: float) -> None:
        """Store the order and carry it out. Of two orders, the earlier SIGKILL applies."""
        kill_at_s = self._clock() + grace_s
        order = folder.stop_order()
        if order is None or kill_at_s < order.kill_at_s:
            order = replace(order or StopOrder(by=by, kill_at_s=kill_at_s), kill_at_s=kill_at_s)
            folder.write_stop_order(order)
        self._queue.signal(folder.name, "TERM")  # also if repeated: a crash may have prevented the first
        self._enforce(folder, order)

    def _enforce(self, folder: JobFolder, order: StopOrder) -> None:
        now, name = self._clock(), folder.name
        if now < order.kill_at_s or now - self._killed_at.get(name, 0.0) < KILL_PAUSE_S:
            return
        if name in self._killed_at:
            self._queue.cancel(name)
        else:
            self._queue.signal(name, "QUIT")  # the entrypoint then kills the script's process group
        self._killed_at[name] = now


def _failed(folder: JobFolder, reason: str) -> JobStatus:
    return JobStatus(name=folder.name, status="Failed", secondary_status="Failed", failure_reason=reason)


def _tail(folder: JobFolder) -> str:
    """Return the last line that SLURM wrote to the job's own log, such as the reason of a cancellation."""
    try:
        lines = read_text(folder.path / "slurm.log").splitlines()
    except (DamagedFile, OSError, SmsweepError):
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def prepare(
    template: JobTemplate, assets: Path, folder: Path, environ: Mapping[str, str], *, upload: bool
) -> tuple[JobTemplate, Site]:
    """Return the template with the options of sbatch and the places of its files. See `base.Prepare`.

    Raises:
        JobRejected: If a channel cannot be read on this machine.
    """
    local_channels(template.request)
    limit_s = template.request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds")
    options = {"signal": f"B:TERM@{WARNING_S}"}
    if limit_s is not None:
        options["time"] = str(math.ceil((limit_s + LIMIT_EXTRA_S) / 60))  # minutes
    options |= _resource_options(template.resources) | dict(template.sbatch)
    request = {**template.request, OPTIONS: options}
    return request_fields.prepare(replace(template, request=request), assets, folder, environ, upload=upload)


def _resource_options(resources: Resources) -> dict[str, str]:
    """Return the options of sbatch for the devices of a trial."""
    options = {}
    if resources.gpus:
        options["gpus"] = f"{resources.gpus:g}"
    if resources.cpus:
        options["cpus-per-task"] = str(resources.cpus)
    if resources.memory_bytes:
        options["mem"] = f"{math.ceil(resources.memory_bytes / 2**20)}M"
    return options


def check_machine(template: JobTemplate, environ: Mapping[str, str], *, pulls: bool) -> None:
    """Check that the cluster answers. See `base.CheckMachine`."""
    del template, pulls
    SlurmQueue(environ).cluster()


def check_settings(template: JobTemplate, environ: Mapping[str, str]) -> None:
    """Check the options of sbatch, and that the secrets are available. See `base.BackendSpec`."""
    check_local_secrets(template, environ)
    if template.resources.gpus and template.resources.gpus < 1:
        raise UsageError(
            "resources_per_trial.gpus: SLURM jobs cannot share a GPU; use a whole number, or sbatch: {gres: ...}"
        )
    for name, value in template.sbatch.items():
        if name in OWNED or not OPTION.fullmatch(name) or not value.isprintable():
            raise UsageError(
                f"sbatch.{name}: is not an option that you can set; use long options of sbatch, such "
                "as partition, gres or time"
            )


def diagnose(template: JobTemplate, environ: Mapping[str, str]) -> Iterator[Check]:
    """Yield what `smsweep doctor` prints about the cluster. See `base.BackendSpec`."""
    del template
    try:
        cluster = SlurmQueue(environ).cluster()
    except SmsweepError as err:
        problem, _, fix = str(err).partition("; ")
        yield Check(what="SLURM", result=problem, is_ok=False, fix=fix or "check the cluster with: sinfo")
        return
    yield Check(what="SLURM", result=f"cluster {cluster} answers", is_ok=True)


def find_jobs(prefix: str, jobs_dir: Path, environ: Mapping[str, str]) -> Iterator[TrainingJobRequest]:
    """Find jobs that have a folder. See `base.FindJobs`."""
    del environ
    found = request_fields.find_jobs(prefix, jobs_dir, foreign_files=())
    return (request for request in found if (jobs_dir / request["TrainingJobName"] / MARK).exists())


SPEC = BackendSpec(
    open=lambda context: SlurmBackend(context.jobs_dir, context.runtime_zip, context.environ, context.clock),
    prepare=prepare,
    check_settings=check_settings,
    check_machine=check_machine,
    find_jobs=find_jobs,
    diagnose=diagnose,
)
