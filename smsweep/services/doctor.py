"""Whether everything is there that sweeps need on this machine, and how to get what is not."""

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

LEAST_FREE_BYTES = 1_000_000_000  # below, checkpoints and logs of a few trials may not fit


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    what: str  # was looked at, in a few words
    found: str  # what is there, or what is wrong
    is_ok: bool
    is_required: bool = True  # no sweep runs without it
    cure: str = ""  # what to do when it is not ok

    def as_data(self) -> FindingDocument:
        return {
            "what": self.what,
            "found": self.found,
            "is_ok": self.is_ok,
            "is_required": self.is_required,
            "cure": self.cure,
        }


Check = Callable[[Workspace], Finding]


def check_python(workspace: Workspace) -> Finding:
    return Finding(
        what="smsweep",
        found=f"{__version__} on Python {platform.python_version()} ({sys.executable})",
        is_ok=True,
    )


def check_job_python(workspace: Workspace) -> Finding:
    """Look for the `python` that `${interpreter}` means in a trial's command."""
    found = requirements.find(INTERPRETER, workspace.environ.get("PATH", ""))
    return Finding(
        what="python of the trials",
        found=found or f"no `python` on PATH; trials run on {sys.executable}",
        is_ok=bool(found),
        is_required=False,
        cure="activate the environment that your training script needs",
    )


def check_folder(workspace: Workspace) -> Finding:
    """Check that the folder is the user's own and can be written; one that is missing, that it can be made."""
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
    free = shutil.disk_usage(_nearest(home_dir(workspace.environ))).free
    return Finding(
        what="disk",
        found=f"{free / 1e9:.1f} GB free",
        is_ok=free >= LEAST_FREE_BYTES,
        is_required=False,
        cure="free some space, or set SMSWEEP_DIR to a larger disk",
    )


def check_store(workspace: Workspace) -> Finding:
    """Open the store, unless that would only now create it."""
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
    """Return what every check found, required or not. Changes nothing.

    backend: what it needs is required; what another one would need is only told. job: whose image and bucket in S3
    are looked at.
    Raises ConfigError, UsageError for an unknown backend, JobRejected for a framework without an image.
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
