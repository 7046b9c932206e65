"""Change an existing sweep: pause, resume, stop or cancel it; retry trials."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from smsweep.backends.registry import BACKENDS
from smsweep.core.confirm import count_repeats, estimate
from smsweep.core.job import Confirm, parse_place
from smsweep.core.sweep import VERBS, Sweep, SweepState
from smsweep.core.trial import Params, Trial, TrialState
from smsweep.errors import StoreConflict, UsageError
from smsweep.secrets.scan import refuse_secrets, scan_text
from smsweep.services.labels import parse_label, parse_sweep_id
from smsweep.services.places import choose_places
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
    """Queue ended trials for a new attempt, at any place.

    A pending trial that waits for the place of its checkpoints does not wait for it any more. It continues from
    them only where they can be read, and else starts from scratch.

    Args:
        labels: Trials ("ID/N"). With `failed`, also sweeps ("ID").
        failed: Retry all failed and crashed trials of the sweeps.

    Returns:
        The trials, now pending.

    Raises:
        NotFound: If there is no such sweep or trial.
        UsageError: If a trial is running or finished, or pending without a place.
    """
    with Workspace().store() as store:
        return [_queue(store, trial) for trial in _find_ended(store, labels, failed=failed)]


def _queue(store: Store, trial: Trial) -> Trial:
    """Make a trial pending again, at any place."""
    reason = "retried by the user"
    if trial.state is TrialState.PENDING:
        reason += f", without waiting for its checkpoints at {trial.place}"
    return store.move(trial.sweep_id, trial.number, [trial.state], TrialState.PENDING, reason=reason)


def _can_queue(trial: Trial) -> bool:
    return trial.state in RETRYABLE or (trial.state is TrialState.PENDING and bool(trial.place))


def _find_ended(store: Store, labels: Iterable[str], *, failed: bool, pending: bool = False) -> list[Trial]:
    """Return the trials to retry, sorted. Raises NotFound, or UsageError for a trial in another state.

    pending: Accept all pending trials.
    """
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
        if not (_can_queue(trial) or (pending and trial.state is TrialState.PENDING)):
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
    backend: str  # that ran the trials; "" if unknown, or if they ran at places
    on: tuple[str, ...] = ()  # the places of the sweep, as `--on` accepts them; () for those of job.yaml, or none


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
        trials = _find_ended(store, labels, failed=failed, pending=True)
        groups = [(key, list(group)) for key, group in itertools.groupby(trials, lambda trial: trial.sweep_id)]
        retried = []
        for sweep_id, group in groups:
            stored = store.get_sweep(sweep_id)
            if not stored.source_hash:
                raise UsageError(
                    f"sweep {sweep_id} runs a Python function; retry its trials without --run, then call "
                    f"smsweep.agent({sweep_id!r}, function=...)"
                )
            backend, on = _usual_places(stored, [*group, *store.list_trials(sweep_id)])
            numbers = tuple(trial.number for trial in group)
            retried.append(Retried(sweep_id=sweep_id, numbers=numbers, backend=backend, on=on))
        return retried


def _usual_places(sweep: Sweep, trials: Sequence[Trial]) -> tuple[str, tuple[str, ...]]:
    """Return the backend of the first trial that ran on one, or the places of the sweep if that trial ran at one.

    Args:
        sweep: The sweep.
        trials: Its trials, those to retry first.
    """
    placed = [trial for trial in trials if trial.place.partition("@")[0] in BACKENDS]
    if not placed:
        return "", ()
    known = [spec.name for spec in sweep.job.places]
    # An alternative of a place has the name of the place and a number, such as cloud/2.
    names = dict.fromkeys(re.sub(r"/[0-9]+$", "", trial.place_name) for trial in placed if trial.place_name)
    others = [name for name in names if name not in known and parse_place(name).backend in BACKENDS]
    if not placed[0].place_name or not (known or others):
        return placed[0].place.partition("@")[0], ()
    return "", (*known, *others) if others else ()


def check_places(retries: Iterable[Retried], *, parallel: int | str = 1) -> None:
    """Raise a SmsweepError if an agent cannot run trials where `retries` specify."""
    workspace = Workspace()
    with workspace.store() as store:
        for retried in retries:
            template = store.get_sweep(retried.sweep_id).job
            choose_places(template, workspace, on=retried.on, backend=retried.backend or None, parallel=parallel)


@contextlib.contextmanager
def reopened(retried: Retried) -> Iterator[None]:
    """Queue trials again, and resume their sweep. Afterwards, pause, stop or cancel the sweep as it was before."""
    with Workspace().store() as store:
        before = store.get_sweep(retried.sweep_id).state
        for number in retried.numbers:
            trial = store.get_trial(retried.sweep_id, number)
            if _can_queue(trial):
                _queue(store, trial)
        if before is not SweepState.RUNNING:
            store.set_sweep_state(retried.sweep_id, list(SweepState), SweepState.RUNNING)
    try:
        yield
    finally:
        if before not in (SweepState.RUNNING, SweepState.FINISHED):
            # The sweep has another state if its search is over, or if the user changed it.
            with Workspace().store() as store, suppress(StoreConflict):
                store.set_sweep_state(retried.sweep_id, [SweepState.RUNNING], before)


@dataclass(frozen=True, kw_only=True, slots=True)
class Confirmation:
    """The repeats that the user asked for."""

    sweep: Sweep  # as it is now
    n_left: int  # maximum number of repeats that agents will add
    backend: str  # that ran the trials; "" if unknown, or if they ran at places
    on: tuple[str, ...] = ()  # as of `Retried`


def confirm(sweep_id: str, *, top: int = Confirm().top, repeats: int = 3) -> Confirmation:
    """Ask the agents of a sweep to repeat its best trials with new seeds. A finished sweep is running again.

    If the same repeats were asked for and are not complete, nothing is added to them.

    Args:
        sweep_id: Id of the sweep.
        top: Number of best trials to repeat.
        repeats: Repeats of each of them on average. Agents distribute top * repeats repeats, or fewer.

    Raises:
        NotFound: If there is no such sweep.
        UsageError: If an argument is invalid, or the sweep has no best trial that could be repeated.
    """
    for name, value in (("top", top), ("repeats", repeats)):
        if value < 1:
            raise UsageError(f"{name}: expected a whole number above 0, got {value!r}")
    with Workspace().store() as store:
        sweep = store.get_sweep(parse_sweep_id(sweep_id))
        trials = store.list_trials(sweep.id)
        _check_confirm(store, sweep, trials)
        n_repeats, n_asked = count_repeats(trials), top * repeats
        before = notes.CONFIRM.get(store, sweep.id)
        is_same = (before.get("top"), before.get("asked")) == (top, n_asked)
        limit = before["trials"] if is_same and before["trials"] > n_repeats else n_repeats + n_asked
        notes.CONFIRM.put(store, sweep.id, {"top": top, "asked": n_asked, "trials": limit})
        with suppress(StoreConflict):  # it is paused, stopped or cancelled
            # also if it is running, because its agents read the note after a change of the sweep
            sweep = store.set_sweep_state(sweep.id, [SweepState.RUNNING, SweepState.FINISHED], SweepState.RUNNING)
        backend, on = _usual_places(sweep, trials)
    return Confirmation(sweep=sweep, n_left=limit - n_repeats, backend=backend, on=on)


def _check_confirm(store: Store, sweep: Sweep, trials: Sequence[Trial]) -> None:
    """Raise UsageError if the best trials of a sweep cannot be repeated."""
    metric = sweep.config.metric
    if metric is None:
        raise UsageError(f"sweep {sweep.id} has no metric to compare trials by; add metric to sweep.yaml")
    if sweep.job.repeats > 1:
        raise UsageError(f"sweep {sweep.id} repeats every trial already, because its job.yaml has repeats")
    if notes.WANDB_SWEEP.get(store, sweep.id):
        raise UsageError(f"W&B chooses the params of sweep {sweep.id}; start the repeats from W&B")
    n = len(estimate(trials, metric).all)
    if n < 2:
        raise UsageError(
            f"sweep {sweep.id} has {n} finished trials with a value of {metric.name!r}; confirm needs two or more"
        )


@contextlib.contextmanager
def confirming(sweep_id: str, before: SweepState) -> Iterator[None]:
    """Resume a sweep for its repeats. Afterwards, give it the state from before again."""
    with Workspace().store() as store:
        store.set_sweep_state(sweep_id, list(SweepState), SweepState.RUNNING)
    try:
        yield
    finally:
        if before is not SweepState.RUNNING:
            with Workspace().store() as store, suppress(StoreConflict):
                store.set_sweep_state(sweep_id, [SweepState.RUNNING], before)
