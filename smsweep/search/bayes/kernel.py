"""The covariance of the objective at two points: main effects plus an interaction, both Matérn 5/2."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from smsweep.space.unit_cube import Array, matern


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Kernel:
    """k(x, x') = bias + main * mean_j m(r_j) + joint * m(r), r_j = |x_j - x'_j| / scale_j, r^2 = mean_j r_j^2.

    m is the Matérn 5/2 correlation, for an objective that is twice differentiable. The main effects model each
    parameter by itself, which needs few trials. The interaction models the joint effect. Both use one scale per
    parameter (automatic relevance determination). r is a mean and not a sum, so that a scale means the same in two
    dimensions and in twenty.

    Sources: Rasmussen and Williams, Gaussian Processes for Machine Learning, chapters 4 and 5; Duvenaud et al.,
    Additive Gaussian Processes, arXiv:1112.4394.
    """

    scales: Array  # [d], above 0, in units of the cube's edge
    main: float  # variance of the main effects together
    joint: float  # variance of the interaction
    bias: float = 1.0  # variance of the unknown mean

    @property
    def variance(self) -> float:
        """The variance of the objective at one point."""
        return self.bias + self.main + self.joint

    def __call__(self, gaps: Iterable[Array]) -> Array:
        """Return covariances of pairs of points. gaps: the distances of the pairs, one array per dimension."""
        main, square = np.zeros(1), np.zeros(1)
        for gap, scale in zip(gaps, self.scales.tolist(), strict=True):
            r = gap * (1.0 / scale)
            r_square = r * r
            main = main + matern(r, r_square)
            square = square + r_square
        d = len(self.scales)
        square = square / d
        return self.bias + (self.main / d) * main + self.joint * matern(np.sqrt(square), square)
