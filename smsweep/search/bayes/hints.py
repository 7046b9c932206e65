"""Where trainings that were cut short would have led."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from smsweep.search.bayes.evidence import Evidence
from smsweep.search.bayes.kernel import Array

N_PEERS = 5


def expected_whole(hints: Sequence[Evidence], whole: Sequence[Evidence]) -> Array:
    """Return [2, n]: for each hint the objective to expect of the whole training, and its deviation.

    Its peers are the whole trainings next to it in rank when they were as far: what they gained from there on, it
    would have gained. Slow learners among them widen the deviation, so that being cut short is not held against
    it. Where there are no such peers the value stands as it is, with an infinite deviation.
    """
    values = np.array([hint.value for hint in hints])
    lengths = np.array([len(hint.curve) for hint in hints])
    expected = np.stack([values, np.full(len(hints), np.inf)])
    for length in set(lengths.tolist()) - {0}:
        longer = [peer for peer in whole if len(peer.curve) > length]
        if len(longer) < N_PEERS:
            continue
        then = np.array([peer.best_so_far[length - 1] for peer in longer])
        order = np.argsort(then, kind="stable")
        gained = (then - np.array([peer.value for peer in longer]))[order]
        which = np.flatnonzero(lengths == length)
        first = np.searchsorted(then[order], values[which]) - N_PEERS // 2
        peers = np.clip(first, 0, len(longer) - N_PEERS)[:, None] + np.arange(N_PEERS)
        expected[0, which] -= np.median(gained[peers], axis=1)
        expected[1, which] = gained[peers].std(axis=1)
    return expected
