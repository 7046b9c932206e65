"""What each trial says about the objective at its point."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from smsweep.core.objective import objective
from smsweep.core.sweep import Metric
from smsweep.core.trial import History, Params, Trial, TrialState, is_number
from smsweep.space.unit_cube import Array, Cube

EXTREME = 1e100  # values beyond count as this: their squares must stay finite


class Kind(Enum):
    WHOLE = "whole"  # the objective of a whole training
    HINT = "hint"  # of a training cut short or still going on: it may yet have become better
    WORST = "worst"  # as bad as the worst that is known
    PENDING = "pending"  # somebody is looking; what is known is the curve so far, if there is one


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """One trial's. What costs time is worked out when it is first asked for: few of many trials are used."""

    kind: Kind
    value: float = 0.0  # of WHOLE and HINT, and of PENDING so far; lower is better
    params: Params
    cube: Cube
    curve: Sequence[float] = ()  # as reported on the way
    sign: int = 1  # of the curve: multiplied by it, lower is better

    @functools.cached_property
    def place(self) -> tuple[Array, int]:
        """The point where params lie, and how many coordinates are guesses, see `Cube.encode`."""
        return self.cube.encode(self.params)

    @property
    def point(self) -> Array:
        return self.place[0]

    @functools.cached_property
    def best(self) -> Array:
        """After each point of the curve, the best so far."""
        return np.minimum.accumulate(np.clip(self.sign * np.array(self.curve), -EXTREME, EXTREME))

    @property
    def end(self) -> float:
        return self.value


class Ledger:
    """The evidence of a history's trials, kept in step with it at the cost of what changed."""

    def __init__(self, cube: Cube, metric: Metric) -> None:
        self._cube = cube
        self._metric = metric
        self._history: History | None = None

    def follow(self, history: History) -> list[Evidence]:
        """Return the evidence of prior trials, then of the sweep's own in order of number.

        A prior trial that shares no parameter with this space is left out.
        """
        if history is not self._history:
            self._history = history
            self._cursor = 0
            self._own: dict[int, Evidence] = {}
            prior = (evidence(trial, self._metric, self._cube) for trial in history.prior)
            self._prior = [item for item in prior if item.place[1] < max(self._cube.d, 1)]
        changed, self._cursor = history.since(self._cursor)
        for number in changed:
            trial = history.get(number)
            if trial is None:
                self._own.pop(number, None)
            else:
                self._own[number] = evidence(trial, self._metric, self._cube)
        return [*self._prior, *(self._own[number] for number in sorted(self._own))]


def evidence(trial: Trial, metric: Metric, cube: Cube) -> Evidence:
    """Read one trial.

    finished: its objective, the best over history and summary; without a finite one, WORST.
    failed, crashed, killed: WORST, or as `metric.impute` says a HINT by its own best or latest value, if any.
    stopped: a HINT, as it was ended for being slow, not for being done.
    pending: PENDING.
    running, stopping: PENDING, with the curve so far; or as `metric.impute_while_running` says WORST, or a HINT by
    its own best or latest value as soon as it has one.
    A trial of another space lies where this one comes nearest to it.
    """
    kind, value = _reading(trial, metric)
    sign = metric.goal.sign
    value = min(max(sign * value, -EXTREME), EXTREME)
    return Evidence(kind=kind, value=value, params=trial.params, cube=cube, curve=trial.curve, sign=sign)


def _reading(trial: Trial, metric: Metric) -> tuple[Kind, float]:
    own = objective(trial, metric)
    if trial.state is TrialState.FINISHED:
        return (Kind.WHOLE, own) if own is not None else (Kind.WORST, 0.0)
    if trial.state is TrialState.STOPPED:
        return (Kind.HINT, own) if own is not None else (Kind.WORST, 0.0)
    if trial.state is TrialState.PENDING:
        return Kind.PENDING, own or 0.0
    rule = metric.impute if trial.state.is_terminal else metric.impute_while_running
    if rule == "worst":
        return Kind.WORST, 0.0
    value = {"best": own, "latest": _latest(trial, metric)}.get(rule)
    if value is not None:
        return Kind.HINT, value
    if trial.state.is_terminal:
        return Kind.WORST, 0.0
    return Kind.PENDING, own or 0.0


def _latest(trial: Trial, metric: Metric) -> float | None:
    """Return the newest finite value; None when there is none or it cannot be told."""
    if trial.curve:
        return trial.curve[-1]
    stats = trial.metrics.get(metric.name)
    return float(stats.last) if stats is not None and is_number(stats.last) else None
