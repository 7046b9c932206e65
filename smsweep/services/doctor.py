"""Check that this machine has everything that sweeps need, and report how to fix problems."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryFile

from smsweep._version import __version__
from smsweep.backends.registry import BACKENDS, backend_spec
from smsweep.core.json_documents import FindingDocument
from smsweep.errors import SmsweepError, UsageError
from smsweep.runtime.job import requirements
from smsweep.runtime.job.command_macros import INTERPRETER
from smsweep.search.registry import METHODS
from smsweep.services.backends import backend_name
from smsweep.services.sweeps.load import JobLike, load_job
from smsweep.services.workspace import Workspace
from smsweep.stopping.registry import RULES
from smsweep.store.home import home_dir

LEAST_FREE_BYTES = 1_000_000_000  # enough for the checkpoints and logs of a few trials


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """The result of a check."""

    what: str  # the subject of the check
    found: str  # the state, or the problem
    is_ok: bool
    is_required: bool = True  # False if sweeps can run without it
    cure: str = ""  # how to fix the problem

    def as_data(self) -> FindingDocument:
        """Return the document of the finding."""
        return {
            "what": self.what,
            "found": self.found,
            "is_ok": self.is_ok,
            "is_required": self.is_required,
            "cure": self.cure,
        }


Check = Callable[[Workspace], Finding]


def check_python(workspace: Workspace) -> Finding:
    """Report the versions of smsweep and Python."""
    return Finding(
        what="smsweep",
        found=f"{__version__} on Python {platform.python_version()} ({sys.executable})",
        is_ok=True,
    )


def check_job_python(workspace: Workspace) -> Finding:
    """Check that the `python` of `${interpreter}` is on PATH."""
    found = requirements.find(INTERPRETER, workspace.environ.get("PATH", ""))
    return Finding(
        what="python of the trials",
        found=found or f"no `python` on PATH; trials run on {sys.executable}",
        is_ok=bool(found),
        is_required=False,
        cure="activate the environment that your training script needs",
    )


def check_folder(workspace: Workspace) -> Finding:
    """Check that the workspace folder belongs to the user and can be written or created."""
    what = "folder (SMSWEEP_DIR)"
    try:
        folder = workspace.dir
    except UsageError as err:
        found, _, cure = str(err).partition("; ")
        return Finding(what=what, found=found, is_ok=False, cure=cure)
    nearest = _nearest(folder)
    try:
        with TemporaryFile(dir=nearest):
            trouble = ""
    except OSError as err:
        trouble = f"{nearest}: cannot be written ({err.strerror})"
    return Finding(
        what=what,
        found=trouble or f"{folder}{'' if folder.exists() else ' (made with the first sweep)'}",
        is_ok=not trouble,
        cure="set SMSWEEP_DIR to a folder that you may write to",
    )


def check_disk(workspace: Workspace) -> Finding:
    """Check the free space on the disk of the workspace."""
    free = shutil.disk_usage(_nearest(home_dir(workspace.environ))).free
    return Finding(
        what="disk",
        found=f"{free / 1e9:.1f} GB free",
        is_ok=free >= LEAST_FREE_BYTES,
        is_required=False,
        cure="free some space, or set SMSWEEP_DIR to a larger disk",
    )


def check_store(workspace: Workspace) -> Finding:
    """Check that an existing store can be opened."""
    what = "store (SMSWEEP_STORE)"
    try:
        if not workspace.has_store:
            return Finding(what=what, found="none yet (made with the first sweep)", is_ok=True)
        with workspace.store() as store:
            n_sweeps = len(store.list_sweeps())
    except SmsweepError as err:
        found, _, cure = str(err).rpartition("; ")
        return Finding(what=what, found=found or cure, is_ok=False, cure=cure)
    return Finding(what=what, found=f"opens; {n_sweeps} sweeps", is_ok=True)


CHECKS: Sequence[Check] = (check_python, check_job_python, check_folder, check_disk, check_store)


def examine(
    workspace: Workspace | None = None, *, backend: str | None = None, job: JobLike = None
) -> list[Finding]:
    """Run all checks. This changes nothing.

    Args:
        workspace: The workspace. Default: that of this environment.
        backend: Name of the backend whose checks are required; those of other backends are optional. Default:
            `SMSWEEP_BACKEND`, then "process".
        job: A job.yaml, whose image and S3 bucket are checked.

    Returns:
        The finding of each check.

    Raises:
        ConfigError: If `job` is not a valid job.yaml.
        UsageError: If the backend is unknown.
        JobRejected: If AWS has no image for the framework.
    """
    workspace = workspace or Workspace()
    chosen, template = backend_name(backend, workspace), load_job(job).template
    findings = [check(workspace) for check in CHECKS]
    for name in BACKENDS.usable():
        diagnose = backend_spec(name).diagnose
        for found in diagnose(template, workspace.environ) if diagnose else ():
            findings.append(Finding(**asdict(found) | {"is_required": found.is_required and name == chosen}))
    return findings + check_plugins()


def check_plugins() -> list[Finding]:
    """Import each installed plug-in and report whether it can be used."""
    findings = []
    for registry in (BACKENDS, METHODS, RULES):
        for plugin, problem in registry.plugins():
            found, _, cure = problem.rpartition("; ")
            findings.append(
                Finding(
                    what=f"plug-in {plugin.name} ({plugin.group})",
                    found=found or " and ".join(plugin.distributions),
                    is_ok=not problem,
                    is_required=False,
                    cure=cure,
                )
            )
    return findings


def _nearest(folder: Path) -> Path:
    """Return the folder, or the closest one above it that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())
