"""The backends that `--backend` names, loaded when one is chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from smsweep.backends.base import Backend
from smsweep.backends.spec import BackendContext, BackendSpec, Prepare
from smsweep.core.job import JobTemplate, TrainingJobRequest
from smsweep.util.lazy_registry import LazyTable
from smsweep.util.plugins import PluginRegistry

# Called with the folder for jobs, the runtime's zip, the environment, and a clock in seconds since the epoch.
MakeBackend = Callable[[Path, Path, Mapping[str, str], Callable[[], float]], Backend]
# Called with what jobs' names begin with, the folder for jobs and the environment; gives the requests of all such
# jobs that are or were, as far as they are known: the name, and the hyperparameters.
FindJobs = Callable[[str, Path, Mapping[str, str]], Iterable[TrainingJobRequest]]
# Called with a whole request, raises JobRejected for what the backend would refuse before it does anything.
Check = Callable[[TrainingJobRequest], None]


T = TypeVar("T")

PLUGINS = PluginRegistry(
    "smsweep.backends", BackendSpec, {}, reserved=("process", "docker", "sagemaker", "batch", "function")
)


class WithPlugins(LazyTable[T]):
    """A table of built-in objects, and of what each plug-in's spec has in place of them."""

    def __init__(self, places: Mapping[str, str], attribute: Callable[[BackendSpec], T | None]) -> None:
        super().__init__(places)
        self._attribute = attribute

    def __getitem__(self, name: str) -> T:
        if super().__contains__(name):
            return super().__getitem__(name)
        found = self._attribute(PLUGINS[name])
        if found is None:
            raise KeyError(name)
        return found

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (name in PLUGINS and self._attribute(PLUGINS[str(name)]) is not None)


class Backends(LazyTable[MakeBackend]):
    """The backends, with those of plug-ins."""

    def __getitem__(self, name: str) -> MakeBackend:
        return super().__getitem__(name) if super().__contains__(name) else _opener(name, PLUGINS[name])

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in PLUGINS

    def __iter__(self) -> Iterator[str]:
        yield from super().__iter__()
        yield from PLUGINS


def _opener(name: str, spec: BackendSpec) -> MakeBackend:
    def open_backend(
        jobs_dir: Path, runtime_zip: Path, environ: Mapping[str, str], clock: Callable[[], float]
    ) -> Backend:
        context = BackendContext(jobs_dir=jobs_dir, runtime_zip=runtime_zip, environ=environ, clock=clock)
        with PLUGINS.guard(name, "open"):
            return spec.open(context)

    return open_backend


BACKENDS: Mapping[str, MakeBackend] = Backends(
    {
        "process": "smsweep.backends.process.backend:ProcessBackend",
        "docker": "smsweep.backends.docker.backend:DockerBackend",
        "sagemaker": "smsweep.backends.sagemaker.backend:SageMakerBackend",
        "batch": "smsweep.backends.aws_batch.backend:QueuedBackend",
    }
)
LOCAL = ("process", "docker")  # they run jobs on this machine, where the logs lie then
PREPARE: Mapping[str, Prepare] = WithPlugins(
    {
        "process": "smsweep.backends.process.backend:prepare",
        "docker": "smsweep.backends.docker.prepare:prepare",
        "sagemaker": "smsweep.aws.job_template:prepare",
        "batch": "smsweep.aws.job_template:prepare",
    },
    lambda spec: spec.prepare,
)
# Called with the template and the environment; raises JobError or UsageError for settings with which nothing can
# be reached, ever, and for secrets or a bucket that are not there.
SETTINGS: Mapping[str, Callable[[JobTemplate, Mapping[str, str]], None]] = WithPlugins(
    {
        "process": "smsweep.secrets.references:check_here",
        "docker": "smsweep.backends.docker.engine:check_settings",
        "sagemaker": "smsweep.aws.job_template:check_place",
        "batch": "smsweep.backends.aws_batch.backend:check_settings",
    },
    lambda spec: spec.check_settings,
)
CHECKS: Mapping[str, Check] = WithPlugins(
    dict.fromkeys(("sagemaker", "batch"), "smsweep.aws.request_check:validate"),
    lambda spec: spec.check_request,
)
FIND_JOBS: Mapping[str, FindJobs] = WithPlugins(
    {
        "process": "smsweep.backends.process.backend:find_jobs",
        "docker": "smsweep.backends.local.job_folder:find_jobs",
        "sagemaker": "smsweep.backends.sagemaker.list_jobs:find_jobs",
        "batch": "smsweep.backends.aws_batch.list_jobs:find_queued_jobs",
    },
    lambda spec: spec.find_jobs,
)
