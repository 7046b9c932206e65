"""The user's beliefs about the optimum, in the acquisition and in the initial design of a Bayesian search.

The density of a belief is a mix: with the probability `confidence` a peak around the expected value, otherwise
uniform. A wrong belief therefore reduces the density of other values by a limited factor only. Beliefs guide half
of the trials, and their weight decreases with the number of trials. If the first guided trials are worse than the
first other trials, beliefs guide no more trials.

Source: Hvarfner et al., piBO: Augmenting Acquisition Functions with User Beliefs, arXiv:2204.11051.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smsweep.search.bayes.acquisition import PRIOR_COUNT
from smsweep.search.bayes.observations import Observations
from smsweep.space.belief import Belief, Peak, split
from smsweep.space.choices import CHOICES
from smsweep.space.distribution import MISSING
from smsweep.space.space import SearchSpace
from smsweep.space.unit_cube import INACTIVE, Array, Cube

N_TESTED = 16  # numbers of the first trials, which decide whether the beliefs are credible
REFUTED = -1.0  # deviations below an even comparison of guided and other trials


@dataclass(frozen=True, kw_only=True, slots=True)
class _Believed:
    dimension: int
    belief: Belief
    peak: Peak
    n_listed: int  # number of listed values; 0 for a number


class Beliefs:
    """The beliefs about the dimensions of a cube.

    Args:
        beliefs: Name of a parameter, nested names joined by dots -> the belief. Other names are ignored.
        space: The space of the cube.
        cube: The cube.
    """

    def __init__(self, beliefs: Mapping[str, Belief], space: SearchSpace, cube: Cube) -> None:
        names = [".".join(path) for path, _ in space.leaves]
        around = [beliefs[name].around if name in beliefs else MISSING for name in names]
        centers = cube.coordinates(around)
        varied = [(name, leaf) for name, (_, leaf) in zip(names, space.leaves, strict=True) if leaf.size != 1]
        self._believed = [
            _Believed(
                dimension=j,
                belief=beliefs[name],
                peak=Peak(center=float(centers[j])),
                n_listed=(leaf.size or 0) if isinstance(leaf, CHOICES) else 0,
            )
            for j, (name, leaf) in enumerate(varied)
            if name in beliefs
        ]
        self.is_believed: NDArray[np.bool_] = np.zeros(cube.d, dtype=bool)
        self.is_believed[[each.dimension for each in self._believed]] = True

    def guide(self, number: int, known: Observations) -> bool:
        """Return True if the beliefs guide the trial.

        They guide two of every four trials, because the views of the search alternate as well. They guide no
        trial if the guided ones of the first trials are worse than the others, by the rank test of Mann and
        Whitney.

        Args:
            number: The number of the trial.
            known: The values so far.
        """
        if not self._believed or not _is_candidate(number):
            return False
        tested = [
            (_is_candidate(item.number), value)
            for item, value in zip(known.evidence, known.values.tolist(), strict=True)
            if 0 <= item.number < N_TESTED
        ]
        guided = np.array([value for is_guided, value in tested if is_guided])
        others = np.array([value for is_guided, value in tested if not is_guided])
        n_pairs = len(guided) * len(others)
        if not n_pairs:
            return True
        n_won = np.sum(guided[:, None] < others) + 0.5 * np.sum(guided[:, None] == others)
        deviation = math.sqrt(n_pairs * (len(tested) + 1) / 12.0)
        return bool(n_won - 0.5 * n_pairs > REFUTED * deviation)

    def log_weight(self, points: Array, n_observed: int) -> Array:
        """Return the log weight of the beliefs at [n, d] points, which decreases with 1 / n_observed.

        Args:
            points: [n, d] points of the cube.
            n_observed: The number of observations, at least 1.
        """
        total = np.zeros(len(points))
        for each in self._believed:
            column, confidence = points[:, each.dimension], each.belief.confidence
            is_active = column != INACTIVE
            if each.n_listed:
                peak = each.n_listed * (column == each.peak.center)
            else:
                peak = np.array([each.peak.pdf(u) for u in column.tolist()])
            total += np.where(is_active, np.log((1.0 - confidence) + confidence * peak), 0.0)
        weighted: Array = (PRIOR_COUNT / n_observed) * total
        return weighted

    def with_peak(self, points: Array) -> Array:
        """Return [k, d] points, and the first of them moved to the center of all beliefs."""
        peak = points[:1].copy()
        for each in self._believed:
            peak[0, each.dimension] = each.peak.center
        return np.vstack([points, peak])

    def placed(self, point: Array, inner: float) -> Array:
        """Return a guided point of the initial design: a share `confidence` is near the centers of the beliefs.

        Args:
            point: [d] coordinates that are uniform in [0, 1].
            inner: The middle part of each edge that points without a belief cover.
        """
        moved: Array = 0.5 + inner * (point - 0.5)
        for each in self._believed:
            is_near, part = split(each.belief, float(point[each.dimension]))
            if not is_near:
                moved[each.dimension] = 0.5 + inner * (part - 0.5)
            else:
                moved[each.dimension] = each.peak.center if each.n_listed else each.peak.ppf(part)
        return moved


def _is_candidate(number: int) -> bool:
    """Return True for the first two of every four trials."""
    return number // 2 % 2 == 0
