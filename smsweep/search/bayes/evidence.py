"""The evidence of each trial about the objective at its point."""

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

EXTREME = 1e100  # larger values count as this value, so that squares stay finite


class Kind(Enum):
    WHOLE = "whole"  # the objective of a complete training
    HINT = "hint"  # the value of an incomplete training, which could have become better
    WORST = "worst"  # as bad as the worst known value
    PENDING = "pending"  # the trial is not over; its curve so far is known, if it has one


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """The evidence of one trial. Expensive values are computed on first use: few of many trials are used."""

    kind: Kind
    value: float = 0.0  # for WHOLE and HINT, and so far for PENDING; lower is better
    params: Params
    cube: Cube
    curve: Sequence[float] = ()  # as reported
    sign: int = 1  # multiply the curve by the sign and lower is better

    @functools.cached_property
    def place(self) -> tuple[Array, int]:
        """The point of the params, and how many coordinates are guesses. See `Cube.encode`."""
        return self.cube.encode(self.params)

    @property
    def point(self) -> Array:
        return self.place[0]

    @functools.cached_property
    def best(self) -> Array:
        """The best value up to each point of the curve."""
        return np.minimum.accumulate(np.clip(self.sign * np.array(self.curve), -EXTREME, EXTREME))

    @property
    def end(self) -> float:
        return self.value


class Ledger:
    """Tracks the evidence of a history. An update costs as much as the changed trials."""

    def __init__(self, cube: Cube, metric: Metric) -> None:
        self._cube = cube
        self._metric = metric
        self._history: History | None = None

    def follow(self, history: History) -> list[Evidence]:
        """Return the evidence of the prior trials, then of the sweep's own trials by ascending number.

        Prior trials that share no parameter with this space are left out.
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
    """Return the evidence of one trial.

    - finished: WHOLE with its objective, the best over history and summary; WORST if no value is finite. -
    failed, crashed, killed: WORST, or HINT with its best or latest value if `metric.impute` asks for it. -
    stopped: HINT, because a rule ended the training before it was complete. - pending: PENDING. - running,
    stopping: PENDING with the curve so far. `metric.impute_while_running` can select WORST, or HINT with
      the best or latest value.

    A trial of another space gets the nearest point of this space.
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
    """Return the newest finite value; None if there is no such value or it is unknown."""
    if trial.curve:
        return trial.curve[-1]
    stats = trial.metrics.get(metric.name)
    return float(stats.last) if stats is not None and is_number(stats.last) else None
