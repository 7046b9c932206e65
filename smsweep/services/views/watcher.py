"""A live view of a sweep for the terminal and for notebooks: its state, its running trials, and events."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from statistics import fmean
from typing import Any

from smsweep.core.json_documents import (
    BestEventDocument,
    EventDocument,
    MetricsEventDocument,
    SweepDocument,
    TrialDocument,
    TrialEventDocument,
)
from smsweep.core.sweep import Sweep
from smsweep.core.trial import MetricPoint, Trial, TrialState, is_number
from smsweep.errors import SmsweepError
from smsweep.services.labels import parse_sweep_id
from smsweep.services.views.json_views import OPEN, trial_data
from smsweep.services.views.sweep_reader import SweepReader, TrialChange
from smsweep.services.views.sweep_reader import metric_name as metric_name
from smsweep.services.workspace import Workspace
from smsweep.store.base import Store
from smsweep.util.clock import utc_now

LATEST = 100  # number of trials in the mean duration: later trials of a search can take longer
WHOLE = (TrialState.FINISHED, TrialState.STOPPED)  # states of trials that neither failed nor were killed
POLL_SHARE = 0.2  # of the time may be spent polling, so large sweeps are polled less often


class Watcher(AbstractContextManager["Watcher"]):
    """Reads a sweep repeatedly, each time only the changes, and reports them as events. Not thread-safe."""

    def __init__(self, sweep_id: str) -> None:
        """Open the store.

        Args:
            sweep_id: Id of the sweep.

        Raises:
            NotFound: If there is no such sweep.
        """
        self._sweep_id = parse_sweep_id(sweep_id)
        self._reader = SweepReader(self._sweep_id)
        self._curves: dict[int, Curve] = {}  # of active trials
        self._reported_state: tuple[Any, ...] = ()  # of the sweep, by the last event
        self._best: tuple[Any, ...] | None = None
        self._open = ExitStack()
        self._store: Store = self._open.enter_context(Workspace().store())
        self.sweep: Sweep = self._store.get_sweep(self._sweep_id)

    def __exit__(self, *raised: object) -> None:
        self._open.close()

    def poll(self) -> SweepView:
        """Read the changes and return the sweep as it is now, with the events since the previous call.

        Of changes that were undone between two calls, only the result is reported. `core/json_documents.py` has
        the types of events. The first call reports the sweep and the active trials.

        Raises:
            StoreUnavailable: If the store cannot be reached; you can call again.
            NotFound: If the sweep was removed.
        """
        at = utc_now()
        is_first = not self._reported_state
        changes = self._reader.read(self._store)
        self.sweep = self._reader.sweep
        stamp = (at.isoformat(), self.sweep.id)
        events: list[EventDocument] = []
        for change in changes:
            if not change.now.is_removed:
                self._read_curve(change.now)
            if not is_first or change.now.state.is_active:
                events += self._trial_events(change, stamp)
        view = self._make_view(at)
        events += self._best_events(view, stamp)
        state = (view.document["state"], view.is_over)
        if state != self._reported_state:
            event: EventDocument = {
                "event": "sweep",
                "time": stamp[0],
                "sweep": stamp[1],
                **view.document,
                "over": view.is_over,
            }
            events = [event, *events] if is_first else [*events, event]
            self._reported_state = state
        return replace(view, events=events)

    def _trial_events(self, change: TrialChange, stamp: tuple[str, str]) -> list[EventDocument]:
        before, trial = change.before, change.now
        is_new_state = before is None or (before.state, before.attempt) != (trial.state, trial.attempt)
        if trial.is_removed or is_new_state:
            if trial.is_removed and before is None:
                return []
            state: TrialEventDocument = {
                "event": "trial",
                "time": stamp[0],
                "sweep": stamp[1],
                **self._data(trial),
                "removed": trial.is_removed,
            }
            return [state]
        if before is not None and before.n_points != trial.n_points:
            curve = self._curves.get(trial.number)
            metrics: MetricsEventDocument = {
                "event": "metrics",
                "time": stamp[0],
                "sweep": stamp[1],
                "number": trial.number,
                "step": curve.step if curve else None,
                "metrics": self._data(trial)["metrics"],
            }
            return [metrics]
        return []

    def _best_events(self, view: SweepView, stamp: tuple[str, str]) -> list[BestEventDocument]:
        best = view.document["best"]
        if best is None or (best["number"], best["objective"]) == self._best:
            return []
        self._best = (best["number"], best["objective"])
        event: BestEventDocument = {
            "event": "best",
            "time": stamp[0],
            "sweep": stamp[1],
            "metric": metric_name(self.sweep),
            "number": best["number"],
            "objective": best["objective"],
            "params": best["params"],
        }
        return [event]

    def _read_curve(self, trial: Trial) -> None:
        """Read the points that an active trial reported since the previous call."""
        if not trial.state.is_active:
            self._curves.pop(trial.number, None)
            return
        curve = self._curves.get(trial.number)
        if curve is None or not curve.fits(trial):
            is_known = curve is not None and curve.attempt == trial.attempt
            curve = self._curves[trial.number] = Curve(trial.attempt)
            curve.is_settled |= is_known
        if curve.n_read < trial.n_points:
            points = self._store.read_points(self._sweep_id, trial.number, after=curve.n_read)
            curve.add(points, metric_name(self.sweep))

    def _make_view(self, at: datetime) -> SweepView:
        trials = sorted(self._reader.trials.values(), key=lambda trial: trial.number)
        document = self._reader.document(self._store)
        waiting = {wait["number"]: wait["for"] for wait in document["waiting"]}
        active = [trial for trial in trials if trial.state.is_active]
        return SweepView(
            document=document,
            slots=[self._slot(trial, waiting.get(trial.number, ""), at) for trial in active],
            reasons=[(each["reason"], each["trials"]) for each in document["failures"]],
            n_ended=sum(trial.state.is_terminal for trial in trials),
            fixed=frozenset(".".join(path) for path, leaf in self.sweep.config.space.leaves if leaf.size == 1),
            started_at=min((trial.started_at for trial in trials if trial.started_at), default=None),
            eta_s=seconds_left(trials, document["expected_trial_count"], at),
            at=at,
            is_over=self.sweep.state not in OPEN and not active,
        )

    def _slot(self, trial: Trial, waits_for: str, at: datetime) -> Slot:
        curve = self._curves[trial.number]
        step = curve.step if curve.step is not None else len(curve.values) or None
        is_lost = trial.lease_expires_at is not None and trial.lease_expires_at < at
        return Slot(trial=self._data(trial), step=step, curve=curve.values, waits_for=waits_for, is_lost=is_lost)

    def _data(self, trial: Trial) -> TrialDocument:
        return trial_data(trial, self.sweep)


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """An active trial."""

    trial: TrialDocument  # as `smsweep trials --json`
    step: int | None  # of the newest report; the number of reports if the script reports no steps
    curve: Sequence[float]  # finite values of the sweep's (first) metric in its current attempt, oldest first
    waits_for: str = ""  # "quota", "capacity", "credentials", "backend"; "" if its job has started
    is_lost: bool = False  # its agent did not renew the lease in time


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepView:
    """A sweep at one moment."""

    document: SweepDocument  # as `smsweep show --json`
    slots: Sequence[Slot]  # by ascending number
    reasons: Sequence[tuple[str, int]]  # of failures, with the number of trials; most frequent first
    n_ended: int  # trials
    fixed: frozenset[str]  # flat names of the params that have the same value in every trial
    started_at: datetime | None  # of the first trial; None before it starts
    eta_s: float | None  # seconds until the expected trials have ended; None if unknown
    at: datetime
    is_over: bool  # no trial will start, and no trial is active
    events: Sequence[EventDocument] = ()  # since the previous poll, oldest first

    @property
    def expected(self) -> int | None:
        """Number of trials that the sweep will have; None if unlimited."""
        return self.document["expected_trial_count"]


class Curve:
    """The values of the sweep's metric in one attempt of an active trial, read incrementally."""

    def __init__(self, attempt: int) -> None:
        self.attempt = attempt
        self.n_read = 0  # number of points of all metrics
        self.step: int | None = None  # of the newest point that has a step
        self.values: list[float] = []
        # The first report of a retry replaces points of the previous attempt, so all points are read again.
        self.is_settled = attempt == 0

    def fits(self, trial: Trial) -> bool:
        """Return True if the stored points begin with those that were read."""
        has_news = self.n_read != trial.n_points
        return (
            self.attempt == trial.attempt and self.n_read <= trial.n_points and (self.is_settled or not has_news)
        )

    def add(self, points: Iterable[MetricPoint], metric: str) -> None:
        """Add points that follow those that were read."""
        for point in points:
            self.n_read += 1
            self.step = point.step if point.step is not None else self.step
            if point.name == metric and is_number(point.value):
                self.values.append(float(point.value or 0))


def seconds_left(trials: Collection[Trial], expected: int | None, now: datetime) -> float | None:
    """Estimate the seconds until `expected` trials have ended, with as many parallel trials as now.

    Args:
        trials: The trials of the sweep.
        expected: Number of trials of the whole sweep; None if unlimited.
        now: The current time.

    Returns:
        Seconds; None if the sweep is unlimited, no trial has ended normally, or no trial is active.
    """
    starts = [trial.started_at for trial in trials if trial.state.is_active]
    active = [(now - start).total_seconds() for start in starts if start]
    each_s = mean_duration_s(trials)
    if expected is None or each_s is None or not active:
        return None
    n_ended = sum(trial.state.is_terminal for trial in trials)
    n_to_start = max(0, expected - n_ended - len(active))
    remaining_s = [max(0.0, each_s - max(0.0, for_s)) for for_s in active]
    return max(*remaining_s, (sum(remaining_s) + n_to_start * each_s) / len(active))


def mean_duration_s(trials: Iterable[Trial]) -> float | None:
    """Return the mean duration in seconds of the latest trials that ended normally; None without one."""
    ended = [(trial.ended_at, trial.started_at) for trial in trials if trial.state in WHOLE]
    spans = sorted((end, (end - start).total_seconds()) for end, start in ended if end and start)
    return fmean(max(0.0, seconds) for _, seconds in spans[-LATEST:]) if spans else None


class Poller:
    """Polls a sweep at intervals, and continues after temporary errors of its store."""

    def __init__(self, watcher: Watcher, interval_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Args: watcher: Reads the sweep. interval_s: Minimum time between two polls. clock: In seconds."""
        self._watcher = watcher
        self.interval_s = interval_s
        self._clock = clock
        self._next = clock()
        self.view: SweepView | None = None  # the latest state; None before the first poll
        self.trouble = ""  # the error of the last poll; "" if it succeeded

    def poll(self) -> SweepView | None:
        """Return the new state; None if the interval has not passed, or if the store is temporarily unavailable.

        Raises:
            SmsweepError: If a retry cannot succeed.
        """
        began = self._clock()
        if began < self._next:
            return None
        try:
            self.view, self.trouble = self._watcher.poll(), ""
        except SmsweepError as err:
            if not err.retryable:
                raise
            self.trouble = f"{err}; retrying"
            return None
        finally:
            ended = self._clock()
            self._next = ended + max(self.interval_s, (ended - began) / POLL_SHARE)
        return self.view
