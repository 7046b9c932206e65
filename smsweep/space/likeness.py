"""How alike two points of the cube are, by how far they lie apart."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SQRT5 = 5.0**0.5


def matern(r: Array, square: Array) -> Array:
    """Return the Matérn 5/2 correlation at the distances r >= 0, which are also given squared."""
    t = -SQRT5 * r
    decay = np.exp(t)
    # in place from here on: this is where most of a suggestion's time goes
    polynomial = square * (5.0 / 3.0)
    polynomial -= t
    polynomial += 1.0
    polynomial *= decay
    return polynomial


def gaps(a: Array, b: Array, is_nominal: NDArray[np.bool_]) -> Iterator[Array]:
    """Yield, per dimension, the distances [len(a), len(b)] between the points of a and of b.

    In a nominal dimension any two different values are 1 apart.
    """
    for column_a, column_b, nominal in zip(a.T, b.T, is_nominal.tolist(), strict=True):
        gap = column_a[:, None] - column_b
        yield (gap != 0.0).astype(float) if nominal else np.abs(gap)
