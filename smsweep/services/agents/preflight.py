"""What can be known to be wrong before a sweep is created and run, so that nothing half-made is left."""

from __future__ import annotations

from collections.abc import Iterable

from smsweep.backends.registry import backend_spec
from smsweep.core.sweep import Sweep
from smsweep.errors import UsageError
from smsweep.notify.hooks import HookLike, collect_hooks
from smsweep.services.backends import backend_name, check_prepared
from smsweep.services.sweeps.load import JobLike, SweepLike, load_job, load_sweep, needs_program
from smsweep.services.sweeps.plan import NO_ID
from smsweep.services.workspace import Workspace


def preflight(
    sweep: SweepLike,
    *,
    program: str | None = None,
    job: JobLike = None,
    backend: str | None = None,
    notify: Iterable[HookLike] = (),
) -> None:
    """Raise what an agent would meet before its first trial; create and upload nothing.

    Raises ConfigError; UsageError for a sweep without a program, an unknown backend or a `notify` that is none;
    JobError for a job that its backend cannot run, or one that cannot be reached as this machine is set up.
    """
    parsed = load_sweep(sweep)
    if needs_program(parsed.config) and not program:
        raise UsageError(
            "the sweep names no program; add `program: train.py` to its YAML, or give --program "
            "(a Python function runs by smsweep.agent)"
        )
    workspace = Workspace()
    collect_hooks(notify, workspace.environ)
    name = backend_name(backend, workspace)
    template = load_job(job).template
    check_prepared(template, Sweep(id=NO_ID, config=parsed.config, job=template), workspace, name)
    backend_spec(name).check_settings(template, workspace.environ)
