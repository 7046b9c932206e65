"""What a person does to a sweep that exists: pause it, take trials out, have some run again, look at its logs."""

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

OPEN = (SweepState.RUNNING, SweepState.PAUSED)  # states in which agents stay
RETRYABLE = (TrialState.FAILED, TrialState.CRASHED, TrialState.KILLED, TrialState.STOPPED)
# Below a job's folder; wandb itself puts `run-ID.wandb.synced` beside what it has uploaded.
OFFLINE_RUNS = "ml*/output/data/wandb/offline-run-*"


def set_state(sweep_id: str, verb: str) -> Sweep:
    """Pause, resume, stop or cancel a sweep, in W&B's meaning. Raises UsageError where it is not legal."""
    expect, to = VERBS[verb]
    with Workspace().store() as store:
        known = store.get_sweep(parse_sweep_id(sweep_id))
        try:
            return store.set_sweep_state(known.id, expect, to)
        except StoreConflict as err:
            raise UsageError(f"cannot {verb} sweep {known.id}: it is {known.state.value} already") from err


def remove(labels: Iterable[str]) -> list[str]:
    """Take trials ("ID/N") or whole sweeps ("ID") out, with what their jobs left on this machine.

    A removed grid cell is offered again. Returns the labels removed. Raises UsageError for what is still running;
    nothing is removed then. May be repeated after it was interrupted.
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
                store.remove_trial(sweep_id, number)  # first: from now on no agent takes it up
                Leftovers(workspace, sweep_id, number).delete()
    return [sweep_id if number is None else f"{sweep_id}/{number}" for sweep_id, number in targets]


def _refuse_active(store: Store, sweep_id: str) -> None:
    active = sum(n for state, n in store.count_trials(sweep_id).items() if state.is_active)
    if active:
        raise UsageError(f"sweep {sweep_id} has {active} running trials; `smsweep sweep --cancel` it first")


def _refuse_running(store: Store, workspace: Workspace, sweep_id: str, number: int) -> None:
    try:
        trial = find_trial(store, sweep_id, number)
    except NotInStore:
        if Leftovers(workspace, sweep_id, number).are_there and store.get_trial(sweep_id, number).is_removed:
            return  # by a call that was interrupted
        raise
    if trial.state.is_active:
        raise UsageError(f"trial {sweep_id}/{number} is running; stop its sweep first")


def _remove_sweep(store: Store, workspace: Workspace, sweep_id: str) -> None:
    if sweep_id in read_records(workspace.dir):  # its agent is elsewhere
        Leftovers(workspace, sweep_id, None).delete()
        store.remove_sweep(sweep_id)
        return
    with closed_to_agents(store, store.get_sweep(sweep_id)):
        _refuse_active(store, sweep_id)
        Leftovers(workspace, sweep_id, None).delete()  # first: what is interrupted here can be repeated
        store.remove_sweep(sweep_id)


@contextlib.contextmanager
def closed_to_agents(store: Store, sweep: Sweep) -> Iterator[None]:
    """Let no agent start anything of a sweep from now on, and again where the `with` fails."""
    if sweep.state in OPEN:
        store.set_sweep_state(sweep.id, [sweep.state], SweepState.STOPPED)
    try:
        yield
    except BaseException:
        if sweep.state in OPEN:
            store.set_sweep_state(sweep.id, [SweepState.STOPPED], sweep.state)
        raise


def retry(labels: Iterable[str], *, failed: bool = False) -> list[Trial]:
    """Put ended trials back into the queue with a new attempt, and return them.

    labels: trials ("ID/N"), or with `failed` sweeps ("ID") whose failed and crashed trials are meant.
    Raises UsageError for a trial that is running, pending, or finished (finished cells never repeat).
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
                    "only failed, crashed, killed or stopped ones run again"
                )
        return [
            store.move(
                trial.sweep_id, trial.number, [trial.state], TrialState.PENDING, reason="asked to run again"
            )
            for trial in sorted(chosen, key=lambda trial: (trial.sweep_id, trial.number))
        ]


log = logging.getLogger(__name__)


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
