"""What a person does to a sweep that exists: pause it, take trials out, have some run again, look at its logs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import ParamSpec, TypeVar

from smsweep.backends.base import Backend
from smsweep.backends.table import BACKENDS, LOCAL
from smsweep.errors import NotInStore, StoreConflict, Throttled, UsageError
from smsweep.jobs import LogPage
from smsweep.metrics import split_records
from smsweep.sdk.away.record import AGENTS_NOTE, all_jobs, read_records
from smsweep.sdk.backends import backend_name, open_backend
from smsweep.sdk.hidden import make_redact
from smsweep.sdk.job_text import load_job_text
from smsweep.sdk.labels import parse_label, parse_sweep_id, parse_trial
from smsweep.sdk.leftovers import Leftovers
from smsweep.sdk.workspace import Workspace, find_trial
from smsweep.store.base import Store
from smsweep.sweeps import VERBS, Sweep, SweepState
from smsweep.trials import Trial, TrialState

P = ParamSpec("P")
T = TypeVar("T")
OPEN = (SweepState.RUNNING, SweepState.PAUSED)  # states in which agents stay
FOLLOW_S = 0.3  # between two looks at a growing log
NO_LOG = "the trial was a Python function's: what that printed went to where its agent ran"
RETRYABLE = (TrialState.FAILED, TrialState.CRASHED, TrialState.KILLED, TrialState.STOPPED)


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


def read_log(label: str, *, follow: bool = False, raw: bool = False, backend: str | None = None) -> Iterator[str]:
    """Yield the lines of a trial's log, secrets masked; with follow, until its job has ended.

    label: "ID/N"; or "ID", for what the agent of a sweep that was detached to SageMaker says.
    raw: also the records by which `smsweep.log` reports metrics.
    """
    sweep_id, number = parse_label(label)
    workspace = Workspace()
    if number is None and sweep_id in read_records(workspace.dir):
        yield from _read_agent_log(workspace, sweep_id, follow=follow)
        return
    sweep_id, number = parse_trial(label)
    with workspace.store() as store:
        trial = find_trial(store, sweep_id, number)
        while follow and not trial.place and not trial.state.is_terminal:  # nobody has taken it up yet
            time.sleep(FOLLOW_S)
            trial = find_trial(store, sweep_id, number)
        if not trial.job_name:
            return
        redact = make_redact(workspace.environ, load_job_text(store.get_sweep(sweep_id).job_yaml))
        kind = trial.place.partition("@")[0]
        if kind and kind not in BACKENDS:
            raise UsageError(f"{label}: {NO_LOG}")
        name = backend_name(backend or kind, workspace)
        with contextlib.closing(open_backend(name, workspace, only_reads=True)) as opened:
            job, page = trial.job_name, LogPage(lines=(), cursor="")
            while True:
                cursor = page.cursor
                for page in _pages(opened, job, cursor):
                    if page.lines:
                        lines = redact("\n".join(page.lines)).split("\n")  # at once: a key may span several
                        yield from lines if raw else without_records(lines)
                if page.is_last or not follow:
                    return
                is_over = trial.state.is_terminal or trial.job_name != job
                # Of a job in the cloud this asks for news, without which there is no more of its log.
                there = _in_turn(opened.describe, [job]) if name not in LOCAL else {}
                if is_over and job not in there:
                    return
                time.sleep(FOLLOW_S)
                trial = find_trial(store, sweep_id, number)


def _pages(backend: Backend, job: str, cursor: str) -> Iterator[LogPage]:
    """Yield what there is of a job's log behind the cursor; the last page tells whether that was all."""
    while True:
        page = _in_turn(backend.read_logs, job, cursor)
        yield page
        if page.cursor == cursor:
            if not page.is_behind:
                return
            backend.wait(FOLLOW_S)
        cursor = page.cursor


def _in_turn(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call, and again for as long as an API is too busy."""
    while True:
        try:
            return call(*args, **kwargs)
        except Throttled:
            time.sleep(FOLLOW_S)


def _read_agent_log(workspace: Workspace, sweep_id: str, *, follow: bool) -> Iterator[str]:
    """Yield the lines of a detached agent's own log, of the training job that it is now."""
    with workspace.store() as store:
        names = all_jobs(read_records(workspace.dir)[sweep_id], store.get_note(sweep_id, AGENTS_NOTE))
    with contextlib.closing(open_backend("sagemaker", workspace, only_reads=True)) as opened:
        page = LogPage(lines=(), cursor="")
        while names:
            cursor = page.cursor
            for page in _pages(opened, names[-1], cursor):
                yield from without_records(page.lines)
            if page.is_last or not follow:
                return
            opened.wait(FOLLOW_S)
            _in_turn(opened.describe, [names[-1]])


def without_records(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        text, records = split_records(line)
        if text or not records:
            yield text
