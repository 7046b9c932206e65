"""The backends that `--backend` names, loaded when one is chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol

from smsweep.backends.base import Backend
from smsweep.core.job import JobTemplate, Site, TrainingJobRequest
from smsweep.util.lazy_registry import LazyTable

# Called with the folder for jobs, the runtime's zip, the environment, and a clock in seconds since the epoch.
MakeBackend = Callable[[Path, Path, Mapping[str, str], Callable[[], float]], Backend]
# Called with what jobs' names begin with, the folder for jobs and the environment; gives the requests of all such
# jobs that are or were, as far as they are known: the name, and the hyperparameters.
FindJobs = Callable[[str, Path, Mapping[str, str]], Iterable[TrainingJobRequest]]
# Called with a whole request, raises JobRejected for what the backend would refuse before it does anything.
Check = Callable[[TrainingJobRequest], None]


class Prepare(Protocol):
    def __call__(
        self, template: JobTemplate, assets: Path, folder: Path, environ: Mapping[str, str], *, upload: bool
    ) -> tuple[JobTemplate, Site]:
        """Complete a template for this backend, put the files where its jobs can read them, and say where that is.

        assets: folder with runtime.zip and source.tar.gz, named by their content. folder: the workspace's.
        upload: False to put nothing anywhere and only say. Raises JobError.
        """
        ...


BACKENDS: Mapping[str, MakeBackend] = LazyTable(
    {
        "process": "smsweep.backends.process.backend:ProcessBackend",
        "docker": "smsweep.backends.docker.backend:DockerBackend",
        "sagemaker": "smsweep.backends.sagemaker.backend:SageMakerBackend",
        "batch": "smsweep.backends.aws_batch.backend:QueuedBackend",
    }
)
LOCAL = ("process", "docker")  # they run jobs on this machine, where the logs lie then
PREPARE: Mapping[str, Prepare] = LazyTable(
    {
        "process": "smsweep.backends.process.backend:prepare",
        "docker": "smsweep.backends.docker.prepare:prepare",
        "sagemaker": "smsweep.aws.job_template:prepare",
        "batch": "smsweep.aws.job_template:prepare",
    }
)
# Called with the template and the environment; raises JobError or UsageError for settings with which nothing can
# be reached, ever, and for secrets or a bucket that are not there.
SETTINGS: Mapping[str, Callable[[JobTemplate, Mapping[str, str]], None]] = LazyTable(
    {
        "process": "smsweep.secrets.references:check_here",
        "docker": "smsweep.backends.docker.engine:check_settings",
        "sagemaker": "smsweep.aws.job_template:check_place",
        "batch": "smsweep.backends.aws_batch.backend:check_settings",
    }
)
CHECKS: Mapping[str, Check] = LazyTable(
    dict.fromkeys(("sagemaker", "batch"), "smsweep.aws.request_check:validate")
)
FIND_JOBS: Mapping[str, FindJobs] = LazyTable(
    {
        "process": "smsweep.backends.process.backend:find_jobs",
        "docker": "smsweep.backends.local.job_folder:find_jobs",
        "sagemaker": "smsweep.backends.sagemaker.list_jobs:find_jobs",
        "batch": "smsweep.backends.aws_batch.list_jobs:find_queued_jobs",
    }
)
