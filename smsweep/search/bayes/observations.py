"""The evidence as numbers for the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smsweep.core.learning_curve import Forecaster
from smsweep.search.bayes.evidence import Evidence, Kind
from smsweep.space.unit_cube import Array


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
    forecaster = Forecaster(whole, hints[0].cube.is_nominal)
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
