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
    """All that is not pending, in the order of the trials."""

    evidence: Sequence[Evidence]  # n of them
    values: Array  # [n], lower is better
    spreads: Array  # [n], deviation of what a whole training would have given; 0 for whole trainings
    sets_scale: NDArray[np.bool_]  # [n], whole trainings; as long as there is none, hints

    def __len__(self) -> int:
        return len(self.evidence)

    def settled(self, parts: int) -> Observations:
        """Return the first of them, the same until those that set the scale have grown by one part in so many."""
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
    """Return what can be compared; nothing as long as there is no value at all to compare with.

    So a sweep whose first trials crash is still at its start.
    """
    whole = [item for item in evidence if item.kind is Kind.WHOLE]
    hints = [item for item in evidence if item.kind is Kind.HINT]
    if not whole and not hints:
        return Observations(
            evidence=(), values=np.empty(0), spreads=np.empty(0), sets_scale=np.empty(0, dtype=bool)
        )
    known = [item for item in evidence if item.kind is not Kind.PENDING]
    kinds = np.array([item.kind.value for item in known])
    is_whole, is_hint = kinds == Kind.WHOLE.value, kinds == Kind.HINT.value
    # what is as bad as the worst known, until it is overwritten
    values, spreads = np.full(len(known), max(item.value for item in (*whole, *hints))), np.zeros(len(known))
    values[is_whole] = [item.value for item in whole]
    values[is_hint], spreads[is_hint] = expected_whole(hints, whole)
    return Observations(evidence=known, values=values, spreads=spreads, sets_scale=is_whole if whole else is_hint)


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
