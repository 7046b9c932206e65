"""A smooth guess of the objective between trials, for contours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SIDE = 40  # cells along each axis
MOST_TRIALS = 2_000  # that a surface is computed from, evenly chosen; more change nothing that is seen
Floats = NDArray[np.float64]


def surface(x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the ticks of a grid over all points and a weighted mean of z at each of its places, z[row of y, x].

    Weights fall with the fourth power of the distance, both axes scaled to one, so that near trials decide.
    """
    if len(x) > MOST_TRIALS:
        chosen = np.linspace(0, len(x) - 1, MOST_TRIALS).astype(int)
        x, y, z = x[chosen], y[chosen], z[chosen]
    xs, ys = np.linspace(x.min(), x.max(), SIDE), np.linspace(y.min(), y.max(), SIDE)
    wide, high = np.ptp(x) or 1.0, np.ptp(y) or 1.0
    across = ((xs[:, None] - x[None, :]) / wide) ** 2
    rows = []
    for tick in ys:
        squared = across + ((tick - y[None, :]) / high) ** 2
        weights = 1.0 / (squared**2 + 1e-6)
        rows.append(weights @ z / weights.sum(axis=1))
    return xs, ys, np.array(rows)
