"""Backends by name: which one a command uses, opened, and the requests that it gets."""

from __future__ import annotations

from collections.abc import Callable

from smsweep.aws.options import EVENTS_QUEUE
from smsweep.backends.base import Backend, BackendContext
from smsweep.backends.registry import BACKENDS, backend_names, backend_spec, open_client
from smsweep.core.job import JobTemplate, TrainingJobRequest
from smsweep.core.sweep import Sweep
from smsweep.core.trial import Trial
from smsweep.engine.job_request import training_job
from smsweep.errors import UsageError
from smsweep.services.workspace import Workspace
from smsweep.util.clock import utc_now

DEFAULT_BACKEND = "process"


def backend_name(name: str | None, workspace: Workspace) -> str:
    """Return the backend to use: the one given, `SMSWEEP_BACKEND`, or processes. Raises UsageError."""
    name = name or workspace.environ.get("SMSWEEP_BACKEND") or DEFAULT_BACKEND
    if name not in BACKENDS:
        raise UsageError(f"no backend {name!r}; there are {', '.join(sorted(backend_names()))}")
    return name


def open_backend(name: str, workspace: Workspace, *, only_reads: bool = False) -> Backend:
    """Open a backend in the workspace. only_reads: it leaves the queue of an agent's events to that agent."""
    environ = {key: value for key, value in workspace.environ.items() if not (only_reads and key == EVENTS_QUEUE)}
    context = BackendContext(
        jobs_dir=workspace.jobs_dir,
        runtime_zip=workspace.runtime_zip(),
        environ=environ,
        clock=lambda: utc_now().timestamp(),
    )
    return open_client(name, context)


def renderer(
    template: JobTemplate, stored: Sweep, workspace: Workspace, backend: str, *, upload: bool
) -> Callable[[Trial], TrainingJobRequest]:
    """Return what turns a trial into the request that the backend will get.

    upload: put the files that the jobs need where they find them; False to leave that, and only look.
    Raises JobError, before anything is sent, for what the backend would refuse of every trial.
    """
    spec = backend_spec(backend)
    if spec.check_request:
        check_prepared(template, stored, workspace, backend)
    assets = workspace.assets(stored.source_hash) if upload else workspace.assets_path(stored.source_hash)
    complete, site = spec.prepare(template, assets, workspace.dir, workspace.environ, upload=upload)
    return lambda trial: training_job(complete, stored, trial, site)


def check_prepared(template: JobTemplate, stored: Sweep, workspace: Workspace, backend: str) -> None:
    """Raise JobError for what the backend would refuse of every trial; nothing is sent."""
    spec, path = backend_spec(backend), workspace.assets_path(stored.source_hash)
    complete, site = spec.prepare(template, path, workspace.dir, workspace.environ, upload=False)
    if spec.check_request:
        spec.check_request(training_job(complete, stored, Trial(sweep_id=stored.id, number=0, params={}), site))
