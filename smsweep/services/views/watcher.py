"""A sweep as it goes: what everybody who watches one is shown, and what has happened since they last looked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from statistics import fmean
from typing import Any

from smsweep.core.sweep import Sweep, SweepState
from smsweep.core.trial import MetricPoint, Trial, TrialState, is_number
from smsweep.services.labels import parse_sweep_id
from smsweep.services.views.json_views import show_data, trial_data
from smsweep.services.workspace import Workspace
from smsweep.store.base import Store
from smsweep.util.clock import utc_now

GOES_ON = (SweepState.RUNNING, SweepState.PAUSED)


class Watcher(AbstractContextManager["Watcher"]):
    """Reads a sweep again and again, each time only what changed; writes nothing. For one thread."""

    def __init__(self, sweep_id: str) -> None:
        """Raises NotFound."""
        self._sweep_id = parse_sweep_id(sweep_id)
        self._trials: dict[int, Trial] = {}
        self._curves: dict[int, Curve] = {}  # of active trials
        self._revision = 0
        self._told: tuple[Any, ...] = ()  # of the sweep: what the last event of it said
        self._best: tuple[Any, ...] | None = None
        self._open = ExitStack()
        self._store: Store = self._open.enter_context(Workspace().store())
        self.sweep: Sweep = self._store.get_sweep(self._sweep_id)

    def __exit__(self, *raised: object) -> None:
        self._open.close()

    def look(self) -> Look:
        """Read what changed. Raises StoreUnavailable, after which another look may do; NotFound.

        Events have `event`, `time` and `sweep`, and by kind: "sweep" what `show` has, at first, when its state
        changes and when it is over; "trial" what `trials` has, for each whose state changed (at first: for those
        that run), also `removed`; "metrics" `number`, `step` and `metrics` of one that reported; "best"
        `metric`, `number`, `objective` and `params`. Of what came and went between two looks only the end is told.
        """
        at = utc_now()
        is_first = not self._told
        self.sweep = self._store.get_sweep(self._sweep_id)
        changed = self._store.list_trials(self._sweep_id, since=self._revision)
        events: list[Data] = []
        for trial in changed:
            before = self._trials.pop(trial.number, None)
            self._revision = max(self._revision, trial.revision)
            if not trial.is_removed:
                self._trials[trial.number] = trial
                self._read(trial)
            if is_first and not trial.state.is_active:
                continue
            if trial.is_removed:
                events += [{"event": "trial", **self._data(trial), "removed": True}] if before else []
            elif before is None or (before.state, before.attempt) != (trial.state, trial.attempt):
                events.append({"event": "trial", **self._data(trial), "removed": False})
            elif before.n_points != trial.n_points:
                events.append(self._reported(trial))
        look = self._put_together(at)
        events += self._of_the_best(look)
        told = (look.shown["state"], look.is_over)
        if told != self._told:
            about = {"event": "sweep", **look.shown, "over": look.is_over}
            events = [about, *events] if is_first else [*events, about]
            self._told = told
        stamp = {"time": at.isoformat(), "sweep": self.sweep.id}
        return replace(look, events=[{"event": event["event"], **stamp, **event} for event in events])

    def _read(self, trial: Trial) -> None:
        """Read what an active trial reported since the last look."""
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

    def _put_together(self, at: datetime) -> Look:
        trials = sorted(self._trials.values(), key=lambda trial: trial.number)
        shown = show_data(self._store, self.sweep, trials)
        waiting = {found["number"]: found["for"] for found in shown["waiting"]}
        active = [trial for trial in trials if trial.state.is_active]
        return Look(
            shown=shown,
            slots=[self._slot(trial, waiting.get(trial.number, ""), at) for trial in active],
            reasons=[(each["reason"], each["trials"]) for each in shown["failures"]],
            n_ended=sum(trial.state.is_terminal for trial in trials),
            fixed=frozenset(".".join(path) for path, leaf in self.sweep.config.space.leaves if leaf.size == 1),
            started_at=min((trial.started_at for trial in trials if trial.started_at), default=None),
            eta_s=seconds_left(trials, shown["expected_trial_count"], at),
            at=at,
            is_over=self.sweep.state not in GOES_ON and not active,
        )

    def _slot(self, trial: Trial, waits_for: str, at: datetime) -> Slot:
        curve = self._curves[trial.number]
        step = curve.step if curve.step is not None else len(curve.values) or None
        is_lost = trial.lease_expires_at is not None and trial.lease_expires_at < at
        return Slot(trial=self._data(trial), step=step, curve=curve.values, waits_for=waits_for, is_lost=is_lost)

    def _reported(self, trial: Trial) -> Data:
        data = self._data(trial)
        curve = self._curves.get(trial.number)
        step = curve.step if curve else None
        return {"event": "metrics", "number": trial.number, "step": step, "metrics": data["metrics"]}

    def _of_the_best(self, look: Look) -> list[Data]:
        best = look.shown["best"]
        is_news = best is not None and (best["number"], best["objective"]) != self._best
        if not is_news:
            return []
        self._best = (best["number"], best["objective"])
        about = {name: best[name] for name in ("number", "objective", "params")}
        return [{"event": "best", "metric": metric_name(self.sweep), **about}]

    def _data(self, trial: Trial) -> Data:
        return trial_data(trial, self.sweep)


def metric_name(sweep: Sweep) -> str:
    """Return the metric that is shown where one is; "" for a sweep without any."""
    return next((metric.name for metric in sweep.config.all_metrics), "")


Data = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """A trial that an agent holds."""

    trial: Data  # as `smsweep trials --json`
    step: int | None  # of the newest report; where the script counts none, how often it reported the metric
    curve: Sequence[float]  # finite values of the sweep's (first) metric in its current attempt, oldest first
    waits_for: str = ""  # "quota", "capacity", "credentials", "backend"; "" when its job has started
    is_lost: bool = False  # its agent has given no sign of life for longer than it may


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """One look at a sweep."""

    shown: Data  # as `smsweep show --json`
    slots: Sequence[Slot]  # by ascending number
    reasons: Sequence[tuple[str, int]]  # why trials failed or crashed, and how many; the most frequent first
    n_ended: int  # trials
    fixed: frozenset[str]  # params that are the same in every trial, nested ones joined by dots
    started_at: datetime | None  # when the first trial was; None while none was
    eta_s: float | None  # until the expected trials have ended; None while nobody can tell
    at: datetime
    is_over: bool  # no trial will start, and none runs
    events: Sequence[Data] = ()  # since the look before, oldest first; see `Watcher.look`

    @property
    def expected(self) -> int | None:
        count: int | None = self.shown["expected_trial_count"]
        return count


class Curve:
    """What one attempt of an active trial reported of the sweep's metric, read in pieces."""

    def __init__(self, attempt: int) -> None:
        self.attempt = attempt
        self.n_read = 0  # points of any metric
        self.step: int | None = None  # of the newest one that has any
        self.values: list[float] = []
        # The first report of a further attempt replaces some of what the one before said: read all once more.
        self.is_settled = attempt == 0

    def fits(self, trial: Trial) -> bool:
        """Tell whether what was read is the beginning of what there is."""
        has_news = self.n_read != trial.n_points
        return (
            self.attempt == trial.attempt and self.n_read <= trial.n_points and (self.is_settled or not has_news)
        )

    def add(self, points: Iterable[MetricPoint], metric: str) -> None:
        for point in points:
            self.n_read += 1
            self.step = point.step if point.step is not None else self.step
            if point.name == metric and is_number(point.value):
                self.values.append(float(point.value or 0))


LATEST = 100  # trials whose mean duration is taken: what a search tries later may take longer


WHOLE = (TrialState.FINISHED, TrialState.STOPPED)  # not cut off by a failure or a person


def seconds_left(trials: Collection[Trial], expected: int | None, now: datetime) -> float | None:
    """Return the seconds until `expected` trials have ended, if as many run at once as now.

    None while that cannot be told: there is no end to the sweep, none has ended as it should, or none runs.
    """
    starts = [trial.started_at for trial in trials if trial.state.is_active]
    active = [(now - start).total_seconds() for start in starts if start]
    each_s = mean_duration_s(trials)
    if expected is None or each_s is None or not active:
        return None
    n_ended = sum(trial.state.is_terminal for trial in trials)
    n_to_start = max(0, expected - n_ended - len(active))
    left = [max(0.0, each_s - max(0.0, for_s)) for for_s in active]
    return max(*left, (sum(left) + n_to_start * each_s) / len(active))


def mean_duration_s(trials: Iterable[Trial]) -> float | None:
    """Return how long the latest trials took that ended as they should; None while there are none."""
    ended = [(trial.ended_at, trial.started_at) for trial in trials if trial.state in WHOLE]
    spans = sorted((end, (end - start).total_seconds()) for end, start in ended if end and start)
    return fmean(max(0.0, seconds) for _, seconds in spans[-LATEST:]) if spans else None
