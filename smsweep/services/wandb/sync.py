"""Upload the offline W&B runs of trials with `wandb sync`."""

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

BATCH = 50  # runs in a call of `wandb sync`, because the length of a command line is limited
# W&B's names of a run's folders. W&B adds a counter to folders of the same second.
PATTERNS = ("offline-run-*-{id}", "offline-run-*-{id}-[0-9]*")


def sync(label: str, *, project: str | None = None, entity: str | None = None) -> list[Path]:
    """Upload offline W&B runs. Skip runs that were uploaded before.

    Args:
        label: A sweep ("ID") or a trial ("ID/N").
        project: W&B project. Default: that of the run.
        entity: W&B entity. Default: that of the run.

    Returns:
        The folders of the uploaded runs, oldest first.

    Raises:
        NotFound: If there are no offline runs, or no such sweep or trial.
        UsageError: If wandb is not installed.
        SmsweepError: If `wandb sync` fails.
    """
    workspace = Workspace()
    with workspace.store() as store:
        folders = _once(folder for trial in _trials(store, label) for folder in _offline_runs(trial, workspace))
    if not folders:
        raise NotFound(f"{label}: has no offline W&B runs on this machine; jobs with a W&B key upload their runs")
    waiting = [folder for folder in folders if not list(folder.glob("*.wandb.synced"))]
    options = [*(["--project", project] if project else []), *(["--entity", entity] if entity else [])]
    command = [*_wandb(workspace.environ), "sync", *options]
    for start in range(0, len(waiting), BATCH):
        batch = [str(folder) for folder in waiting[start : start + BATCH]]
        # stdout is only for the command's result, so the output of wandb goes to stderr.
        done = subprocess.run([*command, *batch], stdin=subprocess.DEVNULL, stdout=2, env=dict(workspace.environ))
        if done.returncode:
            raise SmsweepError(f"`wandb sync` failed with exit code {done.returncode}; see its output above")
    return waiting


def _once(folders: Iterable[Path]) -> list[Path]:
    """Return the first folder of each name. A run in WANDB_DIR can also be in the output of its job."""
    first_folders: dict[str, Path] = {}
    for folder in folders:
        first_folders.setdefault(folder.name, folder)
    return list(first_folders.values())


def _trials(store: Store, label: str) -> Iterable[Trial]:
    sweep_id, number = parse_label(label)
    if number is not None:
        return [store.get_trial(sweep_id, number)]
    return sorted(store.list_trials(store.get_sweep(sweep_id).id), key=lambda trial: trial.number)


def _offline_runs(trial: Trial, workspace: Workspace) -> Iterator[Path]:
    """Yield the folders of W&B runs of all jobs of a trial. Download them from S3 if necessary."""
    patterns = [pattern.format(id=run_id(trial.sweep_id, trial.number)) for pattern in PATTERNS]
    for attempt in range(trial.attempt + 1 if trial.job_name else trial.attempt):
        name = job_name(trial.sweep_id, trial.number, attempt)
        local = JobFolder(workspace.jobs_dir / name).ml() / "output" / "data"
        output = local if local.is_dir() else _download_output(trial, name, workspace)
        yield from sorted(folder for pattern in patterns for folder in output.glob(f"wandb/{pattern}"))
    chosen = workspace.environ.get("WANDB_DIR")  # jobs on this machine inherit it from the agent
    if chosen:
        yield from sorted(folder for pattern in patterns for folder in Path(chosen).glob(f"wandb/{pattern}"))


def _download_output(trial: Trial, name: str, workspace: Workspace) -> Path:
    """Return the folder with a job's output data from S3. Download it once. Without output, it does not exist."""
    folder = workspace.dir / "wandb" / name
    uri = str(trial.usage.get("output_uri", "")).replace(f"/{trial.job_name}/", f"/{name}/")
    if folder.is_dir() or not uri.startswith("s3://") or not uri.endswith(".tar.gz"):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        archive = Path(scratch) / "output.tar.gz"
        try:
            fetch(uri, archive, workspace.environ)
            unpack(str(archive), str(Path(scratch) / "data"), skip_links=True)  # W&B links to its logs
        except (NotFound, JobFailure) as err:
            log.warning("%s: %s", name, err)
            return folder
        (Path(scratch) / "data").rename(folder)
    return folder


def _wandb(environ: Mapping[str, str]) -> list[str]:
    program = shutil.which("wandb", path=environ.get("PATH"))
    if program:
        return [program]
    if find_spec("wandb"):
        return [sys.executable, "-m", "wandb"]
    raise UsageError("wandb is not installed, and it is needed for the upload; pip install wandb")
