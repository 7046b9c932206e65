"""The interface of a backend: its client, its description and the checks of `smsweep doctor`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from smsweep.core.job import AccountFacts, JobStatus, JobTemplate, LogPage, Price, Site, TrainingJobRequest


class Backend(Protocol):
    """Executes CreateTrainingJob requests. A job is identified by its name."""

    @property
    def place(self) -> str:
        """Where the jobs run, such as `process@host`. Two backends with the same place see the same jobs."""
        ...

    def submit(self, request: TrainingJobRequest) -> None:
        """Start the job. If a job with this name exists, do nothing.

        Args:
            request: The job's request.

        Raises:
            JobRejected: If the job can never run. The caller must not retry.
            BackendUnavailable: If the backend cannot be reached now. The caller can retry later.
            CapacityError: If no machine is available now. The caller can retry later.
            QuotaExceeded: If the account's quota is used up. The caller can retry later.
        """
        ...

    def describe(self, names: Collection[str]) -> dict[str, JobStatus]:
        """Return the status of each known job. Unknown names are absent.

        The agent calls this once per cycle, with the names of all its jobs.

        Raises:
            JobError: If the backend cannot be reached.
        """
        ...

    def stop(self, name: str, *, grace_s: float | None = None) -> None:
        """Request the job's end with SIGTERM, then SIGKILL after the grace period. Does not wait for the end.

        If the job is unknown or has ended, do nothing. A later call can shorten the grace period.

        Args:
            name: The job's name.
            grace_s: The grace period in seconds. None means 120 s.
        """
        ...

    def read_logs(self, name: str, cursor: str = "") -> LogPage:
        """Return the next whole lines of the job's log, at most about 1 MiB.

        A last line without a line end is returned only after the job has ended. An unknown job has an empty page.

        Args:
            name: The job's name.
            cursor: The cursor of the previous page; "" for the first page.
        """
        ...

    def forget(self, name: str) -> None:
        """Free the resources of an ended job, such as its unpacked source. Its log may be deleted as well."""
        ...

    def wait(self, timeout_s: float) -> None:
        """Sleep for `timeout_s` seconds, or until a job of this client has ended."""
        ...

    def close(self) -> None:
        """Close the client. The jobs continue."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class BackendContext:
    """What a backend can use when it is opened."""

    jobs_dir: Path  # one folder for each job on this machine
    runtime_zip: Path  # the program that runs inside a job
    environ: Mapping[str, str]  # the user's environment variables
    clock: Callable[[], float]  # the time in seconds since the epoch


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """A result that `smsweep doctor` prints."""

    what: str  # the thing that was checked, in a few words
    result: str  # the state of that thing, or the problem
    is_ok: bool
    fix: str = ""  # one line that says how to fix the problem; "" without a problem
    is_required: bool = True  # False if jobs run although the check fails
    is_known: bool = True  # False if the state cannot be determined, for example without a permission


class Prepare(Protocol):
    def __call__(
        self, template: JobTemplate, assets: Path, folder: Path, environ: Mapping[str, str], *, upload: bool
    ) -> tuple[JobTemplate, Site]:
        """Complete a template, and put the files of a sweep where its jobs can read them.

        Args:
            template: The template of all jobs of the sweep.
            assets: The folder with `runtime.zip` and `source.tar.gz`. Its name depends on its content.
            folder: The workspace's folder.
            environ: The user's environment variables.
            upload: False to return the result without writing or uploading anything.

        Returns:
            The completed template, and the places of the jobs' files.

        Raises:
            JobError: If the backend cannot run jobs of this template.
        """
        ...


class CheckMachine(Protocol):
    def __call__(self, template: JobTemplate, environ: Mapping[str, str], *, pulls: bool) -> None:
        """Check that this machine can run jobs of a template now. A caller does this before it creates a sweep.

        Args:
            template: The template of the jobs.
            environ: The user's environment variables.
            pulls: Download what is missing. False only checks that it is available.

        Raises:
            BackendUnavailable: If a service on this machine does not answer.
            JobRejected: If something is missing and not available.
        """
        ...


class CheckPython(Protocol):
    def __call__(self, request: TrainingJobRequest, environ: Mapping[str, str], python: str, /) -> None:
        """Check that the image of a request has the Python that a pickled function needs.

        Args:
            request: A complete request.
            environ: The user's environment variables.
            python: The version that the function needs, such as "3.11".

        Raises:
            JobRejected: If the image has another version. The message names an image that fits. An unknown version
                is no error, because the job checks the version again.
        """
        ...


class FindJobs(Protocol):
    def __call__(self, prefix: str, jobs_dir: Path, environ: Mapping[str, str], /) -> Iterable[TrainingJobRequest]:
        """Yield the requests of all known jobs, ended ones included, whose name starts with `prefix`.

        Each request has at least the name and the hyperparameters. Raises JobError.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class BackendSpec:
    """One backend. A module that implements a backend has one, which `registry.backend_spec` returns.

    Attributes:
        open: Opens a client of the backend. Raises UsageError for invalid settings.
        prepare: Completes the template of a sweep's jobs, and uploads what they need.
        check_settings: Checks the template and the user's environment before a sweep is created. Raises JobError
            or UsageError for settings that can never work, and for missing secrets or buckets. Changes nothing.
        check_machine: Checks that this machine can run jobs now, and downloads their image. None for no checks.
        check_request: Raises JobRejected for a complete request that the backend always refuses. None without
            such checks.
        check_python: Checks the Python of the image of jobs that call a function. None without images.
        find_jobs: Finds the jobs of a sweep whose store is lost (`smsweep recover`). None if the backend has no
            list of its jobs.
        ask_price: Returns the price of the machines that the template asks for. None for a free backend. The
            user confirms the first job of a sweep on a backend with prices.
        ask_account: Returns where jobs run, and the quota of their instances. Raises no error for unknown values.
        diagnose: Yields what `smsweep doctor` prints about the backend. None for nothing.
        is_local: Jobs run on this machine. Each has a folder in `jobs_dir`, with its log.
        uses_images: Jobs on this machine run in the container image that the request names.
        reads_s3: Jobs read and write checkpoints in S3.
    """

    open: Callable[[BackendContext], Backend]
    prepare: Prepare
    check_settings: Callable[[JobTemplate, Mapping[str, str]], None]
    check_machine: CheckMachine | None = None
    check_request: Callable[[TrainingJobRequest], None] | None = None
    check_python: CheckPython | None = None
    find_jobs: FindJobs | None = None
    ask_price: Callable[[JobTemplate, Mapping[str, str]], Price] | None = None
    ask_account: Callable[[JobTemplate, Mapping[str, str]], AccountFacts] | None = None
    diagnose: Callable[[JobTemplate, Mapping[str, str]], Iterable[Check]] | None = None
    is_local: bool = False
    uses_images: bool = False
    reads_s3: bool = False
