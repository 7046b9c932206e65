"""The evidence as numbers that a model can be fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smsweep.search.bayes.evidence import Evidence, Kind
from smsweep.search.bayes.hints import expected_whole
from smsweep.search.bayes.kernel import Array


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Observations:
    """In the order of the trials."""

    points: Array  # [n, d]
    values: Array  # [n], lower is better
    spreads: Array  # [n], deviation of what a whole training would have given; 0 for whole trainings
    n_guesses: NDArray[np.int64]  # [n], see Evidence
    sets_scale: NDArray[np.bool_]  # [n], whole trainings; as long as there is none, hints

    def __len__(self) -> int:
        return len(self.values)

    def first(self, n: int) -> Observations:
        return Observations(
            points=self.points[:n],
            values=self.values[:n],
            spreads=self.spreads[:n],
            n_guesses=self.n_guesses[:n],
            sets_scale=self.sets_scale[:n],
        )


def observed(evidence: Sequence[Evidence], d: int) -> Observations:
    """Return all that is not pending; nothing as long as there is no value at all to compare with.

    So a sweep whose first trials crash is still at its start.
    """
    whole = [item for item in evidence if item.kind is Kind.WHOLE]
    valued = whole or [item for item in evidence if item.kind is Kind.HINT]
    if not valued:
        return Observations(
            points=np.empty((0, d)),
            values=np.empty(0),
            spreads=np.empty(0),
            n_guesses=np.empty(0, dtype=np.int64),
            sets_scale=np.empty(0, dtype=bool),
        )
    worst = max(item.value for item in evidence if item.kind in (Kind.WHOLE, Kind.HINT))
    known = [item for item in evidence if item.kind is not Kind.PENDING]
    readings = []
    for item in known:
        if item.kind is Kind.WORST:
            readings.append((worst, 0.0))
        elif item.kind is Kind.HINT:
            readings.append(expected_whole(item, whole))
        else:
            readings.append((item.value, 0.0))
    values, spreads = np.array(readings).T
    scale_kind = valued[0].kind
    return Observations(
        points=np.array([item.point for item in known]),
        values=values,
        spreads=spreads,
        n_guesses=np.array([item.n_guesses for item in known]),
        sets_scale=np.array([item.kind is scale_kind for item in known]),
    )


def thinned(values: Array, limit: int) -> NDArray[np.intp]:
    """Return the places of at most so many values, ascending: the best half, and an even choice of the rest.

    The best are what the search must tell apart; every k-th of the others still shows where it is bad.
    """
    if len(values) <= limit:
        return np.arange(len(values))
    order = np.argsort(values, kind="stable")
    n_best = limit // 2
    rest = np.linspace(n_best, len(order) - 1, limit - n_best).astype(np.intp)
    return np.sort(np.r_[order[:n_best], order[rest]])
