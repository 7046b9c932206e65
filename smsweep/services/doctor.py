"""Check that this machine has everything that sweeps need, and report how to fix problems."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile

from smsweep._version import __version__
from smsweep.backends.base import Check
from smsweep.backends.local.ledger import PROCESS, DeviceLedger
from smsweep.backends.process.backend import job_environment
from smsweep.backends.registry import BACKENDS, backend_spec
from smsweep.core.job import job_name
from smsweep.core.sweep import Sweep, SweepConfig
from smsweep.errors import BackendUnavailable, SmsweepError, UsageError
from smsweep.runtime.job import requirements
from smsweep.runtime.job.command_macros import INTERPRETER
from smsweep.search.registry import METHODS
from smsweep.services.backends import check_prepared
from smsweep.services.places import ChosenPlace, choose_places
from smsweep.services.sweeps.load import JobLike, load_job
from smsweep.services.sweeps.plan import NO_ID
from smsweep.services.workspace import Workspace
from smsweep.space.space import SearchSpace
from smsweep.stopping.registry import RULES
from smsweep.store.home import home_dir
from smsweep.util.terminal_text import counted

LEAST_FREE_BYTES = 1_000_000_000  # enough for the checkpoints and logs of a few trials


def check_python(workspace: Workspace) -> Check:
    """Report the versions of smsweep and Python."""
    return Check(
        what="smsweep",
        result=f"{__version__} on Python {platform.python_version()} ({sys.executable})",
        is_ok=True,
    )


def check_job_python(workspace: Workspace) -> Check:
    """Report the `python` of `${interpreter}`, as the process backend finds it."""
    interpreter = requirements.find(INTERPRETER, job_environment(workspace.environ).get("PATH", ""))
    return Check(
        what="python of the trials",
        result=interpreter or f"no `python` on PATH; trials run on {sys.executable}",
        is_ok=bool(interpreter),
        is_required=False,
        fix="activate the environment that your training script needs",
    )


def check_folder(workspace: Workspace) -> Check:
    """Check that the workspace folder belongs to the user and can be written or created."""
    what = "folder (SMSWEEP_DIR)"
    try:
        folder = workspace.dir
    except UsageError as err:
        problem, _, fix = str(err).partition("; ")
        return Check(what=what, result=problem, is_ok=False, fix=fix)
    nearest = _nearest(folder)
    try:
        with TemporaryFile(dir=nearest):
            trouble = ""
    except OSError as err:
        trouble = f"{nearest}: cannot be written ({err.strerror})"
    return Check(
        what=what,
        result=trouble or f"{folder}{'' if folder.exists() else ' (made with the first sweep)'}",
        is_ok=not trouble,
        fix="set SMSWEEP_DIR to a folder that you may write to",
    )


def check_disk(workspace: Workspace) -> Check:
    """Check the free space on the disk of the workspace."""
    free = shutil.disk_usage(_nearest(home_dir(workspace.environ))).free
    return Check(
        what="disk",
        result=f"{free / 1e9:.1f} GB free",
        is_ok=free >= LEAST_FREE_BYTES,
        is_required=False,
        fix="free some space, or set SMSWEEP_DIR to a larger disk",
    )


def check_store(workspace: Workspace) -> Check:
    """Check that an existing store can be opened."""
    what = "store (SMSWEEP_STORE)"
    try:
        if not workspace.has_store:
            return Check(what=what, result="none yet (made with the first sweep)", is_ok=True)
        with workspace.store() as store:
            n_sweeps = len(store.list_sweeps())
    except SmsweepError as err:
        problem, _, fix = str(err).rpartition("; ")
        return Check(what=what, result=problem or fix, is_ok=False, fix=fix)
    return Check(what=what, result=f"opens; {counted(n_sweeps, 'sweep')}", is_ok=True)


def check_devices(workspace: Workspace) -> Check:
    """Report the devices that trials on this machine may use, and how many running jobs use some of them."""
    what = "devices (SMSWEEP_DEVICES)"
    ledger = DeviceLedger(workspace.environ, PROCESS)
    try:
        claims = ledger.claims()
    except (OSError, UsageError, BackendUnavailable) as err:
        problem, _, fix = str(err).partition("; ")
        return Check(what=what, result=problem, is_ok=False, fix=fix or "set SMSWEEP_LEDGER to another folder")
    used = f"; {counted(len(claims), 'job')} with `resources_per_trial` now" if claims else ""
    return Check(what=what, result=f"{ledger.pool}{used}", is_ok=True)


CHECKS: Sequence[Callable[[Workspace], Check]] = (
    check_python,
    check_job_python,
    check_folder,
    check_disk,
    check_store,
    check_devices,
)
LOCAL_CHECKS = (check_job_python, check_devices)  # of backends that run jobs on this machine


def examine(
    workspace: Workspace | None = None, *, backend: str | None = None, on: Sequence[str] = (), job: JobLike = None
) -> list[Check]:
    """Run all checks. This changes nothing.

    Args:
        workspace: The workspace. Default: that of this environment.
        backend: Name of the backend whose checks are required. With a backend on this machine, the other backends
            on this machine are checked too, as optional. Default: `SMSWEEP_BACKEND`, then "process".
        on: Places whose backends are checked, as for `agent`. Default: all places in `job`.
        job: A job.yaml, whose image and, on SageMaker, role, bucket and quota are checked.

    Returns:
        The result of each check.

    Raises:
        ConfigError: If `job` is not a valid job.yaml.
        UsageError: If the backend is unknown.
        JobRejected: If AWS has no image for the framework.
    """
    workspace = workspace or Workspace()
    places = choose_places(load_job(job).template, workspace, on=on, backend=backend)
    chosen = {place.backend for place in places}
    is_local = all(backend_spec(name).is_local for name in chosen)
    checks = [make(workspace) for make in CHECKS if is_local or make not in LOCAL_CHECKS]
    for name in BACKENDS.usable():
        spec = backend_spec(name)
        if name not in chosen and not (is_local and spec.is_local):
            continue
        for place in [place for place in places if place.backend == name] or places[:1]:
            for check in spec.diagnose(place.template, place.workspace.environ) if spec.diagnose else ():
                found = replace(check, is_required=check.is_required and name in chosen)
                if found not in checks:
                    checks.append(found)
    if job is not None and not is_local and all(check.is_ok or not check.is_required for check in checks):
        checks += [check_job(place) for place in places]
    return checks + check_plugins()


def check_job(place: ChosenPlace) -> Check:
    """Check the request of a trial without params, and the settings that the backend needs."""
    workspace, template, backend = place.workspace, place.template, place.backend
    sweep = Sweep(id=NO_ID, config=SweepConfig(method="random", space=SearchSpace({})), job=template)
    message = ""
    try:
        check_prepared(template, sweep, workspace, backend)
        backend_spec(backend).check_settings(template, workspace.environ)
    except SmsweepError as err:
        message = str(err).removeprefix(f"{job_name(NO_ID, 0, 0)}: ")
    problem, _, fix = message.partition("; ")
    return Check(
        what=f"job.yaml at {place.name}" if place.name else "job.yaml",
        result=problem or f"{backend} can run its jobs",
        is_ok=not message,
        fix=fix or "correct job.yaml",
    )


def check_plugins() -> list[Check]:
    """Import each installed plug-in and report whether it can be used."""
    checks = []
    for registry in (BACKENDS, METHODS, RULES):
        for plugin, problem in registry.plugins():
            text, _, fix = problem.rpartition("; ")
            checks.append(
                Check(
                    what=f"plug-in {plugin.name} ({plugin.group})",
                    result=text or " and ".join(plugin.distributions),
                    is_ok=not problem,
                    is_required=False,
                    fix=fix,
                )
            )
    return checks


def _nearest(folder: Path) -> Path:
    """Return the folder, or the closest one above it that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())
