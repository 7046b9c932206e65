"""Upload what trials wrote for W&B while they ran without its server, by W&B's own `wandb sync`."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from smsweep.backends.local.job_folder import JobFolder
from smsweep.core.job import job_name
from smsweep.core.trial import Trial
from smsweep.errors import NotFound, SmsweepError, UsageError
from smsweep.runtime.job.failure import JobFailure
from smsweep.runtime.job.source_folder import unpack
from smsweep.runtime.script.records import run_id
from smsweep.services.labels import parse_label
from smsweep.services.views.model_download import fetch
from smsweep.services.workspace import Workspace
from smsweep.store.base import Store

log = logging.getLogger(__name__)

BATCH = 50  # runs for one `wandb sync`: a command line has an end
# As W&B names a run's folders: those of one second, of several processes or one by one, are counted.
PATTERNS = ("offline-run-*-{id}", "offline-run-*-{id}-[0-9]*")


def sync(label: str, *, project: str | None = None, entity: str | None = None) -> list[Path]:
    """Upload the offline runs of a sweep ("ID") or of one trial ("ID/N"), and return their folders, oldest first.

    What was uploaded before is passed over. project, entity: where to, if not where the sweep said.
    Raises NotFound where there is nothing to upload, UsageError without a wandb to do it, SmsweepError when that
    fails.
    """
    workspace = Workspace()
    with workspace.store() as store:
        folders = _once(folder for trial in _trials(store, label) for folder in _offline_runs(trial, workspace))
    if not folders:
        raise NotFound(f"{label}: no run of W&B's lies here; where a job has a key, it logs to W&B itself")
    waiting = [folder for folder in folders if not list(folder.glob("*.wandb.synced"))]
    options = [*(["--project", project] if project else []), *(["--entity", entity] if entity else [])]
    command = [*_wandb(workspace.environ), "sync", *options]
    for start in range(0, len(waiting), BATCH):
        batch = [str(folder) for folder in waiting[start : start + BATCH]]
        # Its words are talk: stdout is for answers.
        done = subprocess.run([*command, *batch], stdin=subprocess.DEVNULL, stdout=2, env=dict(workspace.environ))
        if done.returncode:
            raise SmsweepError(f"`wandb sync` ended with exit code {done.returncode}; what it said is above")
    return waiting


def _once(folders: Iterable[Path]) -> list[Path]:
    """Return the first folder of each name: a run in WANDB_DIR is in its job's output as well."""
    found: dict[str, Path] = {}
    for folder in folders:
        found.setdefault(folder.name, folder)
    return list(found.values())


def _trials(store: Store, label: str) -> Iterable[Trial]:
    sweep_id, number = parse_label(label)
    if number is not None:
        return [store.get_trial(sweep_id, number)]
    return sorted(store.list_trials(store.get_sweep(sweep_id).id), key=lambda trial: trial.number)


def _offline_runs(trial: Trial, workspace: Workspace) -> Iterator[Path]:
    """Yield the folders that W&B made in all of the trial's jobs; those left in S3 are brought here first."""
    patterns = [pattern.format(id=run_id(trial.sweep_id, trial.number)) for pattern in PATTERNS]
    for attempt in range(trial.attempt + 1 if trial.job_name else trial.attempt):
        name = job_name(trial.sweep_id, trial.number, attempt)
        here = JobFolder(workspace.jobs_dir / name).ml() / "output" / "data"
        output = here if here.is_dir() else _brought(trial, name, workspace)
        yield from sorted(folder for pattern in patterns for folder in output.glob(f"wandb/{pattern}"))
    chosen = workspace.environ.get("WANDB_DIR")  # of jobs that took over the agent's
    if chosen:
        yield from sorted(folder for pattern in patterns for folder in Path(chosen).glob(f"wandb/{pattern}"))


def _brought(trial: Trial, name: str, workspace: Workspace) -> Path:
    """Return a folder with a job's output data from S3, empty where it left none; it is brought only once."""
    folder = workspace.dir / "wandb" / name
    uri = str(trial.usage.get("output_uri", "")).replace(f"/{trial.job_name}/", f"/{name}/")
    if folder.is_dir() or not uri.startswith("s3://") or not uri.endswith(".tar.gz"):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        archive = Path(scratch) / "output.tar.gz"
        try:
            fetch(uri, archive, workspace.environ)
            unpack(str(archive), str(Path(scratch) / "data"), leave_out_links=True)  # W&B links to its logs
        except (NotFound, JobFailure) as err:
            log.warning("%s: %s", name, err)
            return folder
        (Path(scratch) / "data").rename(folder)
    return folder


def _wandb(environ: Mapping[str, str]) -> list[str]:
    found = shutil.which("wandb", path=environ.get("PATH"))
    if found:
        return [found]
    if find_spec("wandb"):
        return [sys.executable, "-m", "wandb"]
    raise UsageError("W&B's own client does the upload, and it is not installed here; pip install wandb")
