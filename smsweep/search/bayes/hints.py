"""Where a training that was cut short would have led."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from smsweep.search.bayes.evidence import Evidence

N_PEERS = 5


def expected_whole(hint: Evidence, whole: Sequence[Evidence]) -> tuple[float, float]:
    """Return the objective to expect of the whole training, and its deviation.

    Its peers are those whole trainings that were nearest to it when they were as far: what they still gained, it
    would have gained. Slow learners among them widen the deviation, so that being cut short is not held against
    it. Without such peers the value stands as it is, with an infinite deviation.
    """
    t = len(hint.best_so_far)
    peers = [peer for peer in whole if len(peer.best_so_far) > t]
    if not t or len(peers) < N_PEERS:
        return hint.value, float("inf")
    then = np.array([peer.best_so_far[t - 1] for peer in peers])
    gained = then - np.array([peer.value for peer in peers])
    nearest = np.argsort(np.abs(then - hint.value), kind="stable")[:N_PEERS]
    return hint.value - float(np.median(gained[nearest])), float(np.std(gained[nearest]))
