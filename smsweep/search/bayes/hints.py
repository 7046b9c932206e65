"""Where a training that was cut short would have led."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from smsweep.search.bayes.evidence import Evidence
from smsweep.search.bayes.kernel import Array

N_PEERS = 5


class Peers:
    """The whole trainings of a sweep, as a measure for those that were cut short."""

    def __init__(self, whole: Sequence[Evidence]) -> None:
        self._whole = whole
        self._known: dict[int, tuple[Array, Array]] = {}

    def expected(self, hint: Evidence) -> tuple[float, float]:
        """Return the objective to expect of the whole training, and its deviation.

        Those that were nearest to it when they were as far say what it would have gained. Slow learners among them
        widen the deviation, so that being cut short is not held against it. Where too few went on from there, the
        value stands as it is, with an infinite deviation.
        """
        best, gained = self._at(len(hint.curve))
        if len(best) < N_PEERS:
            return hint.value, math.inf
        nearest = np.argsort(np.abs(best - hint.value), kind="stable")[:N_PEERS]
        return hint.value - float(np.median(gained[nearest])), float(np.std(gained[nearest]))

    def _at(self, n_points: int) -> tuple[Array, Array]:
        """Return the best values of longer trainings after so many points, and what they gained from there."""
        if n_points not in self._known:
            longer = [peer for peer in self._whole if len(peer.curve) > n_points > 0]
            best = np.array([peer.best_so_far[n_points - 1] for peer in longer])
            self._known[n_points] = best, best - np.array([peer.value for peer in longer])
        return self._known[n_points]
