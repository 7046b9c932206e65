"""The evidence of each trial about the objective, as numbers for the model.

A Gaussian process needs targets that are roughly normal. Objectives are not normal: a diverged training can be
a thousand times worse than the rest, and late in a search only a small range of good values matters. The search
alternates between two views. Each view is a monotone map that keeps the good values in proportion and
compresses the bad values. One view alone converges too slowly, the other too early.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from smsweep.core.learning_curve import Forecaster, first_spread
from smsweep.core.objective import objective
from smsweep.core.sweep import Metric
from smsweep.core.trial import History, Params, Trial, TrialState, is_number
from smsweep.space.unit_cube import Array, Cube

View = Callable[[Array], Array]  # values of complete trainings by trial, lower is better -> targets
N_START = 10  # values that set the unit of by_distance
FAR = 8.0  # a target beyond which values are compressed again, thousands of units from the best
UNKNOWN = 1.0  # variance of a target without a forecast
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
    number: int = -1  # of the trial; -1 for a prior trial

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
            prior = (replace(evidence(trial, self._metric, self._cube), number=-1) for trial in history.prior)
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
    return Evidence(
        kind=kind,
        value=value,
        params=trial.params,
        cube=cube,
        curve=trial.curve,
        sign=sign,
        number=trial.number,
    )


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


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Observations:
    """The known values: of all ended trials in their order, then of running trials that have a curve."""

    evidence: Sequence[Evidence]  # [n]
    values: Array  # [n], lower is better
    spreads: Array  # [n], standard deviation of the forecast; 0 for complete trainings
    sets_scale: NDArray[np.bool_]  # [n], True for ended trials with a value or a forecast

    def __len__(self) -> int:
        return len(self.evidence)

    def settled(self, parts: int) -> Observations:
        """Return the first observations; the result changes after 1/parts more observations that set the scale."""
        scaled = np.flatnonzero(self.sets_scale)
        n_scaled = len(scaled) - len(scaled) % max(len(scaled) // parts, 1)
        n = int(scaled[n_scaled - 1]) + 1
        return Observations(
            evidence=self.evidence[:n],
            values=self.values[:n],
            spreads=self.spreads[:n],
            sets_scale=self.sets_scale[:n],
        )


def observed(evidence: Sequence[Evidence]) -> Observations:
    """Return the observations, or none as long as no trial has a value.

    A sweep whose first trials crash is therefore still at its start.
    """
    whole = [item for item in evidence if item.kind is Kind.WHOLE]
    hints = [item for item in evidence if item.kind is Kind.HINT]
    if not whole and not hints:
        return Observations(
            evidence=(), values=np.empty(0), spreads=np.empty(0), sets_scale=np.empty(0, dtype=bool)
        )
    running = [item for item in evidence if item.kind is Kind.PENDING and len(item.curve)]
    expected, spread = expected_whole([*hints, *running], whole)
    # an incomplete training is not assumed to beat the best complete one
    expected = np.maximum(expected, min((item.value for item in whole), default=-np.inf))
    has_forecast = np.isfinite(spread[len(hints) :])  # of running trials
    running = [item for item, known in zip(running, has_forecast.tolist(), strict=True) if known]
    known = [*(item for item in evidence if item.kind is not Kind.PENDING), *running]
    kinds = np.array([item.kind.value for item in known])
    is_hint = kinds == Kind.HINT.value
    values = np.full(len(known), max(item.value for item in (*whole, *hints)))  # initially the worst known value
    spreads = np.zeros(len(known))
    values[kinds == Kind.WHOLE.value] = [item.value for item in whole]
    values[is_hint], spreads[is_hint] = expected[: len(hints)], spread[: len(hints)]
    values[len(known) - len(running) :] = expected[len(hints) :][has_forecast]
    spreads[len(known) - len(running) :] = spread[len(hints) :][has_forecast]
    is_forecast = is_hint & (np.isfinite(spreads) if whole else True)
    return Observations(
        evidence=known,
        values=values,
        spreads=spreads,
        sets_scale=(kinds == Kind.WHOLE.value) | is_forecast,
    )


def thinned(values: Array, limit: int) -> NDArray[np.intp]:
    """Return the indices of at most `limit` values, ascending: the best half, and an even choice of the rest.

    The search must distinguish the best values. A part of the others is enough to show bad regions.
    """
    if len(values) <= limit:
        return np.arange(len(values))
    order = np.argsort(values, kind="stable")
    n_best = limit // 2
    rest = np.linspace(n_best, len(order) - 1, limit - n_best).astype(np.intp)
    return np.sort(np.r_[order[:n_best], order[rest]])


def expected_whole(hints: Sequence[Evidence], whole: Sequence[Evidence]) -> Array:
    """Return [2, n]: for each hint the expected objective of the complete training, and its standard deviation.

    `Forecaster` forecasts them from the complete trainings, so that slow trainings are not penalised for their
    early end. Without a forecast, the result is the value itself with an infinite standard deviation.
    """
    values = np.array([hint.value for hint in hints])
    expected = np.stack([values, np.full(len(hints), np.inf)])
    which = np.array([i for i, hint in enumerate(hints) if len(hint.curve)], dtype=int)
    if not len(which) or not whole:
        return expected
    forecaster = Forecaster(whole, hints[0].cube.kinds)
    mean, deviation = forecaster([hints[i] for i in which.tolist()])
    is_known = np.isfinite(deviation)
    which, mean, deviation = which[is_known], mean[is_known], deviation[is_known]
    now = forecaster.yardstick.mark(values[which])
    value = forecaster.yardstick.value
    expected[0, which] = value(np.minimum(mean, now))
    expected[1, which] = (
        value(np.minimum(mean + deviation, now)) - value(np.minimum(mean, now) - deviation)
    ) / 2.0
    return expected


def by_distance(values: Array) -> Array:
    """Return the distance from the best value, linear up to one unit and logarithmic beyond.

    The unit is the median distance of the first values. Beyond FAR, the map is logarithmic again, because models
    do not fit targets of hundreds. The unit does not shrink during the search, so that this view keeps the
    global structure of the objective.
    """
    best = float(values.min())
    usual = max(float(np.median(values[:N_START])), float(np.median(values)))
    unit = first_spread((usual - best, float(values.max()) - best), best)
    target = _compressed((values - best) / unit)
    return FAR * _compressed(target / FAR) - 0.8


def by_rank(values: Array) -> Array:
    """Return the better half standardised around the median, and the normal scores of the worse half's ranks.

    The unit shrinks with the spread of the better half, so that this view resolves ever smaller differences.
    """
    median = float(np.median(values))
    is_better = values <= median
    spread = math.sqrt(float(np.mean((values[is_better] - median) ** 2)))
    unit = first_spread((spread, float(values.max()) - median), median)
    linear = (values - median) / unit
    scores = np.empty_like(values)
    scores[np.argsort(values, kind="stable")] = [
        NormalDist().inv_cdf((rank + 0.5) / len(values)) for rank in range(len(values))
    ]
    return np.where(is_better, linear, np.minimum(linear, scores))


VIEWS: tuple[View, ...] = (by_distance, by_rank)


def targets(observations: Observations, view: View) -> tuple[Array, Array]:
    """Return a target for each observation, and its extra variance.

    The values that set the scale define the view. The other values are interpolated between them, so that no
    target is better than the best or worse than the worst.
    """
    values, spreads = observations.values, observations.spreads
    scale = values[observations.sets_scale]
    scale_targets = view(scale)
    order = np.argsort(scale, kind="stable")

    def interpolate(others: Array) -> Array:
        between = np.interp(others, scale[order], scale_targets[order])
        # two values that differ by the smallest float have an infinite slope between them
        return np.clip(between, scale_targets.min(), scale_targets.max())

    y = interpolate(values)
    y[observations.sets_scale] = scale_targets
    is_unknown = np.isinf(spreads)
    finite = np.where(is_unknown, 0.0, spreads)
    width = (interpolate(values + finite) - interpolate(values - finite)) / 2.0
    return y, np.where(is_unknown, UNKNOWN, width**2)


def _compressed(x: Array) -> Array:
    """Return x up to 1, and 1 + log(x) beyond."""
    return np.where(x > 1.0, 1.0 + np.log(np.maximum(x, 1.0)), x)
