"""What the jobs of trials leave in the workspace's folder, and taking it away."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from smsweep.backends.local.job_files import DamagedFile
from smsweep.backends.local.job_folder import JobFolder
from smsweep.errors import UsageError
from smsweep.services.workspace import Workspace

log = logging.getLogger(__name__)

# Below a job's folder; wandb itself puts `run-ID.wandb.synced` beside what it has uploaded.
OFFLINE_RUNS = "ml*/output/data/wandb/offline-run-*"


class Leftovers:
    """The job folders and checkpoints of one trial, or of a sweep's trials (number: None), as they are now."""

    def __init__(self, workspace: Workspace, sweep_id: str, number: int | None) -> None:
        self._kept = workspace.dir / "wandb"
        checkpoints = workspace.dir / "checkpoints" / sweep_id
        self._checkpoints = checkpoints if number is None else checkpoints / str(number)
        attempts = f"smsweep-{sweep_id}-*" if number is None else f"smsweep-{sweep_id}-{number}-*"
        self._jobs = sorted(workspace.jobs_dir.glob(attempts))

    @property
    def are_there(self) -> bool:
        return bool(self._jobs) or self._checkpoints.exists()

    def refuse_alive(self) -> None:
        """Raise UsageError if a job still runs, although its trial is written down as ended."""
        for job in self._jobs:
            with suppress(DamagedFile):  # without a usable lock, the job counts as ended
                if JobFolder(job).is_alive():
                    raise UsageError(f"{job}: its job still runs; wait for its end, or end it, then remove it")

    def delete(self) -> None:
        """Take everything away but W&B's offline runs that were never synced: those go to `wandb/` beside `jobs/`.

        May be repeated after it was interrupted.
        """
        for job in self._jobs:
            for run in _unsynced(job):
                home = self._kept / job.name
                self._kept.mkdir(mode=0o700, exist_ok=True)
                home.mkdir(exist_ok=True)
                shutil.move(run, home / run.name)
                log.warning("kept a W&B run that was never synced; upload it with: wandb sync %s", home / run.name)
            shutil.rmtree(job)
        if self._checkpoints.exists():
            shutil.rmtree(self._checkpoints)


def _unsynced(job: Path) -> Iterator[Path]:
    for run in sorted(job.glob(OFFLINE_RUNS)):
        if any(run.glob("run-*.wandb")) and not any(run.glob("run-*.wandb.synced")):
            yield run
