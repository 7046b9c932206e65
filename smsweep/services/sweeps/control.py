"""Change an existing sweep: pause, resume, stop or cancel it; remove or retry trials."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from smsweep.backends.local.job_files import DamagedFile
from smsweep.backends.local.job_folder import JobFolder
from smsweep.core.sweep import VERBS, Sweep, SweepState
from smsweep.core.trial import Trial, TrialState
from smsweep.errors import NotInStore, StoreConflict, UsageError
from smsweep.remote.record import read_records
from smsweep.services.labels import parse_label, parse_sweep_id
from smsweep.services.workspace import Workspace, find_trial
from smsweep.store.base import Store

log = logging.getLogger(__name__)

OPEN = (SweepState.RUNNING, SweepState.PAUSED)  # states in which agents keep working
RETRYABLE = (TrialState.FAILED, TrialState.CRASHED, TrialState.KILLED, TrialState.STOPPED)
# In a job's folder. `wandb sync` adds `run-ID.wandb.synced` to a run that it uploaded.
OFFLINE_RUNS = "ml*/output/data/wandb/offline-run-*"


def set_state(sweep_id: str, verb: str) -> Sweep:
    """Pause, resume, stop or cancel a sweep, as in W&B.

    Args:
        sweep_id: Id of the sweep.
        verb: `pause`, `resume`, `stop` or `cancel`.

    Returns:
        The changed sweep.

    Raises:
        NotFound: If there is no such sweep.
        UsageError: If the sweep's state does not allow the change.
    """
    expect, to = VERBS[verb]
    with Workspace().store() as store:
        known = store.get_sweep(parse_sweep_id(sweep_id))
        try:
            return store.set_sweep_state(known.id, expect, to)
        except StoreConflict as err:
            raise UsageError(f"cannot {verb} sweep {known.id}: it is already {known.state.value}") from err


def remove(labels: Iterable[str]) -> list[str]:
    """Remove trials or whole sweeps, with the files of their jobs on this machine.

    The search can propose the params of a removed grid cell again. If a call is interrupted, call again.

    Args:
        labels: Trials ("ID/N") or sweeps ("ID").

    Returns:
        The labels that were removed.

    Raises:
        NotFound: If there is no such sweep or trial.
        UsageError: If a trial or a job is still running. Nothing is removed.
    """
    targets = [parse_label(label) for label in labels]
    workspace = Workspace()
    with workspace.store() as store:
        for sweep_id, number in targets:
            if number is None:
                _refuse_active(store, sweep_id)
            else:
                _refuse_running(store, workspace, sweep_id, number)
            Leftovers(workspace, sweep_id, number).refuse_alive()
        for sweep_id, number in targets:
            if number is None:
                _remove_sweep(store, workspace, sweep_id)
            else:
                store.remove_trial(sweep_id, number)  # first, so that no agent claims it
                Leftovers(workspace, sweep_id, number).delete()
    return [sweep_id if number is None else f"{sweep_id}/{number}" for sweep_id, number in targets]


def _refuse_active(store: Store, sweep_id: str) -> None:
    active = sum(n for state, n in store.count_trials(sweep_id).items() if state.is_active)
    if active:
        raise UsageError(
            f"sweep {sweep_id} has {active} running trials; cancel it first: smsweep sweep --cancel {sweep_id}"
        )


def _refuse_running(store: Store, workspace: Workspace, sweep_id: str, number: int) -> None:
    try:
        trial = find_trial(store, sweep_id, number)
    except NotInStore:
        if Leftovers(workspace, sweep_id, number).exist and store.get_trial(sweep_id, number).is_removed:
            return  # an interrupted call removed the trial but not its files
        raise
    if trial.state.is_active:
        raise UsageError(f"trial {sweep_id}/{number} is running; stop its sweep first")


def _remove_sweep(store: Store, workspace: Workspace, sweep_id: str) -> None:
    if sweep_id in read_records(workspace.dir):  # its agent does not run on this machine
        Leftovers(workspace, sweep_id, None).delete()
        store.remove_sweep(sweep_id)
        return
    with closed_to_agents(store, store.get_sweep(sweep_id)):
        _refuse_active(store, sweep_id)
        Leftovers(workspace, sweep_id, None).delete()  # first, so that an interrupted call can be repeated
        store.remove_sweep(sweep_id)


@contextlib.contextmanager
def closed_to_agents(store: Store, sweep: Sweep) -> Iterator[None]:
    """Stop a sweep so that no agent starts trials of it. If the body raises, restore the sweep's state."""
    if sweep.state in OPEN:
        store.set_sweep_state(sweep.id, [sweep.state], SweepState.STOPPED)
    try:
        yield
    except BaseException:
        if sweep.state in OPEN:
            store.set_sweep_state(sweep.id, [SweepState.STOPPED], sweep.state)
        raise


def retry(labels: Iterable[str], *, failed: bool = False) -> list[Trial]:
    """Queue ended trials for a new attempt.

    Args:
        labels: Trials ("ID/N"). With `failed`, also sweeps ("ID").
        failed: Retry all failed and crashed trials of the sweeps.

    Returns:
        The trials, now pending.

    Raises:
        NotFound: If there is no such sweep or trial.
        UsageError: If a trial is running, pending or finished.
    """
    with Workspace().store() as store:
        chosen: list[Trial] = []
        for label in labels:
            sweep_id, number = parse_label(label)
            if number is not None:
                chosen.append(find_trial(store, sweep_id, number))
            elif failed:
                bad = (TrialState.FAILED, TrialState.CRASHED)
                chosen += [trial for trial in store.list_trials(sweep_id) if trial.state in bad]
            else:
                raise UsageError(f"{label!r} is a whole sweep; name trials as {sweep_id}/N, or add --failed")
        for trial in chosen:
            if trial.state not in RETRYABLE:
                raise UsageError(
                    f"trial {trial.label} is {trial.state.value}; "
                    "you can retry only failed, crashed, killed or stopped trials"
                )
        return [
            store.move(
                trial.sweep_id, trial.number, [trial.state], TrialState.PENDING, reason="retried by the user"
            )
            for trial in sorted(chosen, key=lambda trial: (trial.sweep_id, trial.number))
        ]


class Leftovers:
    """The job folders and checkpoints of a trial, or of all trials of a sweep (number: None), at creation time."""

    def __init__(self, workspace: Workspace, sweep_id: str, number: int | None) -> None:
        self._kept = workspace.dir / "wandb"
        checkpoints = workspace.dir / "checkpoints" / sweep_id
        self._checkpoints = checkpoints if number is None else checkpoints / str(number)
        attempts = f"smsweep-{sweep_id}-*" if number is None else f"smsweep-{sweep_id}-{number}-*"
        self._jobs = sorted(workspace.jobs_dir.glob(attempts))

    @property
    def exist(self) -> bool:
        return bool(self._jobs) or self._checkpoints.exists()

    def refuse_alive(self) -> None:
        """Raise UsageError if a job is still running although its trial has ended in the store."""
        for job in self._jobs:
            with suppress(DamagedFile):  # without a usable lock, the job counts as ended
                if JobFolder(job).is_alive():
                    raise UsageError(f"{job}: the job still runs; wait until it ends or stop it, then try again")

    def delete(self) -> None:
        """Delete the files. Move W&B offline runs that were never synced to `wandb/` in the workspace folder.

        If a call is interrupted, call again.
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
