"""How alike the objective is at two points: main effects plus an interaction, both Matérn 5/2."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from smsweep.space.unit_cube import Array, matern


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Kernel:
    """k(x, x') = bias + main * mean_j m(r_j) + joint * m(r), r_j = |x_j - x'_j| / scale_j, r^2 = mean_j r_j^2.

    m is the Matérn 5/2 correlation: the objective is taken to be twice differentiable. The main effects say that
    each parameter acts by itself, which is learnt from few trials; the interaction holds what they do together.
    One scale per parameter serves both (automatic relevance determination). As r takes a mean and not a sum, a
    scale means the same in two dimensions as in twenty.
    Sources: Rasmussen and Williams, Gaussian Processes for Machine Learning, chapters 4 and 5; Duvenaud et al.,
    Additive Gaussian Processes, arXiv:1112.4394.
    """

    scales: Array  # one per dimension, above 0, in units of the cube's edge
    main: float  # variance of the main effects together
    joint: float  # variance of the interaction
    bias: float = 1.0  # variance of the unknown mean

    @property
    def variance(self) -> float:
        """Of the objective at any one point."""
        return self.bias + self.main + self.joint

    def __call__(self, gaps: Iterable[Array]) -> Array:
        """Return covariances. gaps: per dimension, how far apart the two points of each pair are."""
        main, square = np.zeros(1), np.zeros(1)
        for gap, scale in zip(gaps, self.scales.tolist(), strict=True):
            r = gap * (1.0 / scale)
            r_square = r * r
            main = main + matern(r, r_square)
            square = square + r_square
        d = len(self.scales)
        square = square / d
        return self.bias + (self.main / d) * main + self.joint * matern(np.sqrt(square), square)
