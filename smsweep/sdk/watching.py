"""A sweep as it goes: what everybody who watches one is shown, and what has happened since they last looked."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from datetime import datetime
from typing import Any

from smsweep.sdk.eta import seconds_left
from smsweep.sdk.labels import parse_sweep_id
from smsweep.sdk.looks import Curve, Data, Look, Slot
from smsweep.sdk.views import show_data, trial_data
from smsweep.sdk.workspace import Workspace
from smsweep.store.base import Store
from smsweep.store.open import utc_now
from smsweep.sweeps import Sweep, SweepState
from smsweep.trials import Trial

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
