"""The user's beliefs about the optimum, in the acquisition and in the initial design of a Bayesian search.

The density of a belief is a mix: with the probability `confidence` a peak around the expected value, otherwise
uniform. A wrong belief therefore reduces the density of other values by a limited factor only. Beliefs guide half
of the trials, and their weight decreases with the number of trials.

Source: Hvarfner et al., piBO: Augmenting Acquisition Functions with User Beliefs, arXiv:2204.11051.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smsweep.search.bayes.acquisition import PRIOR_COUNT
from smsweep.space.belief import Belief, Peak, is_listed, split
from smsweep.space.space import MISSING, SearchSpace
from smsweep.space.unit_cube import Array, Cube


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
        centers, _ = cube.encode(space.nest(around))
        varied = [(name, leaf) for name, (_, leaf) in zip(names, space.leaves, strict=True) if leaf.size != 1]
        self._believed = [
            _Believed(
                dimension=j,
                belief=beliefs[name],
                peak=Peak(center=float(centers[j])),
                n_listed=(leaf.size or 0) if is_listed(leaf) else 0,
            )
            for j, (name, leaf) in enumerate(varied)
            if name in beliefs
        ]
        self.is_believed: NDArray[np.bool_] = np.zeros(cube.d, dtype=bool)
        self.is_believed[[each.dimension for each in self._believed]] = True

    def log_weight(self, points: Array, n_observed: int, number: int) -> Array:
        """Return the log weight of the beliefs at [n, d] points, which decreases with 1 / n_observed.

        Args:
            points: [n, d] points of the cube.
            n_observed: The number of observations, at least 1.
            number: The number of the trial.
        """
        total = np.zeros(len(points))
        if not _is_guided(number):
            return total
        for each in self._believed:
            column, confidence = points[:, each.dimension], each.belief.confidence
            if each.n_listed:
                peak = each.n_listed * (column == each.peak.center)
            else:
                peak = np.array([each.peak.pdf(u) for u in column.tolist()])
            total += np.log((1.0 - confidence) + confidence * peak)
        weighted: Array = (PRIOR_COUNT / n_observed) * total
        return weighted

    def with_peak(self, points: Array) -> Array:
        """Return [k, d] points and, with beliefs, the first of them at the center of all beliefs."""
        if not self._believed:
            return points
        peak = points[:1].copy()
        for each in self._believed:
            peak[0, each.dimension] = each.peak.center
        return np.vstack([points, peak])

    def placed(self, point: Array, inner: float, number: int) -> Array:
        """Return a point of the initial design. If the beliefs guide it, a share `confidence` is near their centers.

        Args:
            point: [d] coordinates that are uniform in [0, 1].
            inner: The middle part of each edge that points without a belief cover.
            number: The number of the trial.
        """
        moved = 0.5 + inner * (point - 0.5)
        if not _is_guided(number):
            return moved
        for each in self._believed:
            is_near, part = split(each.belief, float(point[each.dimension]))
            if not is_near:
                moved[each.dimension] = 0.5 + inner * (part - 0.5)
            else:
                moved[each.dimension] = each.peak.center if each.n_listed else each.peak.ppf(part)
        return moved


def _is_guided(number: int) -> bool:
    """Return True if the beliefs guide the trial: two of four, because the views of the search alternate as well."""
    return number // 2 % 2 == 0
