"""Change an existing sweep: pause, resume, stop or cancel it; retry trials."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from smsweep.backends.registry import BACKENDS
from smsweep.core.sweep import VERBS, Sweep, SweepState
from smsweep.core.trial import Params, Trial, TrialState
from smsweep.errors import StoreConflict, UsageError
from smsweep.secrets.scan import refuse_secrets, scan_text
from smsweep.services.labels import parse_label, parse_sweep_id
from smsweep.services.workspace import Workspace, find_trial
from smsweep.store import notes
from smsweep.store.base import Store

MAX_NOTES = 20_000  # characters

OPEN = (SweepState.RUNNING, SweepState.PAUSED)  # states in which agents keep working
RETRYABLE = (TrialState.FAILED, TrialState.CRASHED, TrialState.KILLED, TrialState.STOPPED)


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


def add_trials(sweep_id: str, first_number: int, params: Sequence[Params]) -> list[Trial]:
    """Queue trials that the search did not propose. A finished sweep is running again.

    Args:
        sweep_id: Id of the sweep.
        first_number: Number of the first trial, which must be the next free number.
        params: Params of each trial.

    Returns:
        The new trials.

    Raises:
        NotFound: If there is no such sweep.
        UsageError: If the sweep accepts no trials, or has a trial with the number.
    """
    with Workspace().store() as store:
        with suppress(StoreConflict):  # it is not finished
            store.set_sweep_state(sweep_id, [SweepState.FINISHED], SweepState.RUNNING)
        try:
            return store.add_trials(sweep_id, first_number, params)
        except StoreConflict as err:
            state = store.get_sweep(sweep_id).state.value
            raise UsageError(
                f"sweep {sweep_id}: it is {state} and cannot get trial {first_number}; continue it with: "
                f"smsweep sweep --resume {sweep_id}"
            ) from err


def set_notes(sweep_id: str, text: str) -> str:
    """Replace the user's notes on a sweep, and return them.

    Args:
        sweep_id: Id of the sweep.
        text: The notes; "" removes them.

    Raises:
        NotFound: If there is no such sweep.
        UsageError: If the text is too long, or the sweep is detached.
        SourceError: If the text contains a secret.
    """
    text = text.replace("\x00", "").strip()
    if len(text) > MAX_NOTES:
        raise UsageError(f"the notes have {len(text)} characters; shorten them to {MAX_NOTES}")
    refuse_secrets(scan_text("notes", text))
    with Workspace().store() as store:
        known = store.get_sweep(parse_sweep_id(sweep_id))
        notes.USER_NOTES.put(store, known.id, text)
    return text


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
        return [
            store.move(
                trial.sweep_id, trial.number, [trial.state], TrialState.PENDING, reason="retried by the user"
            )
            for trial in _find_ended(store, labels, failed=failed, states=RETRYABLE)
        ]


def _find_ended(
    store: Store, labels: Iterable[str], *, failed: bool, states: Collection[TrialState]
) -> list[Trial]:
    """Return the trials to retry, sorted. Raises NotFound, or UsageError for a trial in another state."""
    chosen: dict[tuple[str, int], Trial] = {}
    for label in labels:
        sweep_id, number = parse_label(label)
        if number is not None:
            chosen[sweep_id, number] = find_trial(store, sweep_id, number)
        elif failed:
            bad = (TrialState.FAILED, TrialState.CRASHED)
            chosen |= {
                (sweep_id, trial.number): trial for trial in store.list_trials(sweep_id) if trial.state in bad
            }
        else:
            raise UsageError(f"{label!r} is a whole sweep; name trials as {sweep_id}/N, or add --failed")
    for trial in chosen.values():
        if trial.state not in states:
            raise UsageError(
                f"trial {trial.label} is {trial.state.value}; "
                "you can retry only failed, crashed, killed or stopped trials"
            )
    return [chosen[key] for key in sorted(chosen)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Retried:
    """The trials of one sweep that `reopened` queued again."""

    sweep_id: str
    numbers: tuple[int, ...]
    backend: str  # that ran most of the trials; "" if unknown


def find_retried(labels: Iterable[str], *, failed: bool = False) -> list[Retried]:
    """Return the trials that `reopened` can run, by sweep. Change nothing.

    Args:
        labels: Trials ("ID/N"), which can be pending. With `failed`, also sweeps ("ID").
        failed: Include all failed and crashed trials of the sweeps.

    Raises:
        NotFound: If there is no such sweep or trial.
        UsageError: If a trial is running or finished, or ran a Python function.
    """
    with Workspace().store() as store:
        trials = _find_ended(store, labels, failed=failed, states=(*RETRYABLE, TrialState.PENDING))
        groups = [(key, list(group)) for key, group in itertools.groupby(trials, lambda trial: trial.sweep_id)]
        for sweep_id, _ in groups:
            if not store.get_sweep(sweep_id).source_hash:
                raise UsageError(
                    f"sweep {sweep_id} runs a Python function; retry its trials without --run, then call "
                    f"smsweep.agent({sweep_id!r}, function=...)"
                )
        return [
            Retried(
                sweep_id=sweep_id,
                numbers=tuple(trial.number for trial in group),
                backend=_usual_backend([*group, *store.list_trials(sweep_id)]),
            )
            for sweep_id, group in groups
        ]


def _usual_backend(trials: Iterable[Trial]) -> str:
    """Return the backend of the first trial that ran on one."""
    backends = (trial.place.partition("@")[0] for trial in trials)
    return next((backend for backend in backends if backend in BACKENDS), "")


@contextlib.contextmanager
def reopened(retried: Retried) -> Iterator[None]:
    """Queue trials again, and resume their sweep. Afterwards, pause, stop or cancel the sweep as it was before."""
    with Workspace().store() as store:
        before = store.get_sweep(retried.sweep_id).state
        for number in retried.numbers:
            trial = store.get_trial(retried.sweep_id, number)
            if trial.state in RETRYABLE:
                store.move(
                    retried.sweep_id, number, [trial.state], TrialState.PENDING, reason="retried by the user"
                )
        if before is not SweepState.RUNNING:
            store.set_sweep_state(retried.sweep_id, list(SweepState), SweepState.RUNNING)
    try:
        yield
    finally:
        if before not in (SweepState.RUNNING, SweepState.FINISHED):
            # The sweep has another state if its search is over, or if the user changed it.
            with Workspace().store() as store, suppress(StoreConflict):
                store.set_sweep_state(retried.sweep_id, [SweepState.RUNNING], before)
