"""Where to look before anything is known: evenly over the cube."""

from __future__ import annotations

import numpy as np

from smsweep.space.likeness import Array

BLOCK = 8  # points that together form one Latin hypercube
DRAWS = 40  # hypercubes to choose from


def design_point(number: int, d: int, seed: int) -> Array:
    """Return the point of that number, from 0, of an endless even sequence.

    Each block of eight is a Latin hypercube: along every axis each eighth holds one point. Of many such, the
    one whose points keep farthest apart.
    Source: Morris and Mitchell, Exploratory designs for computational experiments, 1995.
    """
    block, place = divmod(number, BLOCK)
    rng = np.random.default_rng([seed, block])
    cells = rng.permuted(np.tile(np.arange(BLOCK), (DRAWS, d, 1)), axis=2).transpose(0, 2, 1)
    cubes = (cells + rng.random((DRAWS, BLOCK, d))) / BLOCK
    gaps = ((cubes[:, :, None, :] - cubes[:, None, :, :]) ** 2).sum(axis=3)
    gaps[:, np.arange(BLOCK), np.arange(BLOCK)] = np.inf
    chosen: Array = cubes[int(gaps.min(axis=(1, 2)).argmax()), place]
    return chosen
