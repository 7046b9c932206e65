"""The acquisition function, which scores a point, and its maximisation over a cube of mixed axes.

The maximisation scans the cube, then mutates the best points in several rounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

import numpy as np
from numpy.typing import NDArray

from smsweep.space.unit_cube import INACTIVE, Array, Cube

LOW, HIGH, KNOTS = -40.0, 8.0, 9601  # of the table for log_expected_improvement
PRIOR_COUNT = 10.0  # observations with the same weight as the prior that the optimum is inside
SIDE_DENSITY = 0.1  # prior density at a side of the cube, relative to the middle
MEAN_DENSITY = SIDE_DENSITY + (1.0 - SIDE_DENSITY) * 2.0 / 3.0  # its mean over an edge
N_ANYWHERE = 400  # points of the scan, drawn from the whole cube
N_NEAR = 300  # points of the scan, near the given points
STEPS = (0.15, 0.07, 0.03, 0.015, 0.006)  # lengths of the mutations of each round, in edges of the cube
N_MUTATIONS = 80  # per round
N_KEPT = 12  # best points that the next round starts from
BLOCK = 8  # points of one Latin hypercube
DRAWS = 40  # hypercubes to choose from


def log_expected_improvement(mean: Array, deviation: Array, best: float) -> Array:
    """Return log E[max(best - f, 0)] for a normal f, where lower values are better.

    The logarithm orders points also if their improvement is less than the smallest float.

    Args:
        mean: [n] means of f.
        deviation: [n] standard deviations of f.
        best: The value to improve on.

    Source: Ament et al., Unexpected Improvements to Expected Improvement, arXiv:2310.20708.
    """
    return np.log(deviation) + _log_h((best - mean) / deviation)


def log_belief_inside(points: Array, is_nominal: NDArray[np.bool_], n_observed: int) -> Array:
    """Return the log weight, up to a constant, of the prior that the optimum is not at a side of the cube.

    Users choose ranges around the values that they expect, but a model is least certain at the sides. Without the
    prior, a third of all early coordinates is at a side. The weight of the prior decreases with 1 / n_observed.

    An inactive coordinate has the mean density, so that the prior prefers neither side of a condition.

    Args:
        points: [n, d] points of the cube.
        is_nominal: [d] True for dimensions without an order.
        n_observed: The number of observations.

    Source: Hvarfner et al., piBO: Augmenting Acquisition Functions with User Beliefs, arXiv:2204.11051.
    """
    u = points[:, ~is_nominal]
    density = SIDE_DENSITY + (1.0 - SIDE_DENSITY) * 4.0 * u * (1.0 - u)
    density = np.where(u == INACTIVE, MEAN_DENSITY, density)
    log_weight: Array = (PRIOR_COUNT / n_observed) * np.log(density).sum(axis=1)
    return log_weight


def _log_h(u: Array) -> Array:
    """Return log(phi(u) + u * Phi(u)), with the normal density phi and its integral Phi."""
    inside = np.interp(u, _U, _LOG_H)
    tail = -0.5 * u * u - 0.5 * math.log(2 * math.pi) - 2.0 * np.log(np.maximum(-u, 1.0))
    return np.where(u < LOW, tail, np.where(u > HIGH, np.log(np.maximum(u, 1.0)), inside))


def _exact_log_h(u: float) -> float:
    if u > -5.0:
        return math.log(math.exp(-0.5 * u * u) / math.sqrt(2 * math.pi) + 0.5 * u * math.erfc(-u / math.sqrt(2)))
    # the two terms nearly cancel, so use the first terms of their asymptotic series
    v = u**-2
    return (
        -0.5 * u * u
        - 0.5 * math.log(2 * math.pi)
        + math.log(v * (1 - 3 * v + 15 * v**2 - 105 * v**3 + 945 * v**4))
    )


_U = np.linspace(LOW, HIGH, KNOTS)
_LOG_H = np.array([_exact_log_h(u) for u in _U.tolist()])


def maximise(
    score: Callable[[Array], Array], cube: Cube, near: Array, excluded: Collection[bytes], rng: np.random.Generator
) -> Array:
    """Return points with a high score that meet all constraints, best first.

    Args:
        score: Returns the score of each of [n, d] points.
        cube: The cube of the points.
        near: [k, d] points to search around, k >= 1.
        excluded: Points to exclude, as bytes.
        rng: The random numbers.
    """

    def scored(points: Array) -> tuple[Array, Array]:
        free = points[[point.tobytes() not in excluded for point in points]]
        free = free[cube.are_feasible(free)]
        return free, score(free)

    lengths = np.exp(rng.uniform(np.log(0.01), np.log(0.4), N_NEAR))
    scan = np.vstack([cube.scan(N_ANYWHERE, rng), mutated(near, lengths, cube, rng)])
    points, scores = _best(*scored(scan))
    for step in STEPS:
        if not len(points):
            break
        fresh, fresh_scores = scored(
            mutated(points, step * np.exp(rng.uniform(-1.0, 0.5, N_MUTATIONS)), cube, rng)
        )
        points, scores = _best(np.vstack([points, fresh]), np.r_[scores, fresh_scores])
    return points


def mutated(points: Array, lengths: Array, cube: Cube, rng: np.random.Generator) -> Array:
    """Return one point per length: one of the points, with some coordinates moved by about the length.

    A coordinate without an order is drawn again. A coordinate that leaves the cube is reflected at its side. An
    inactive coordinate is drawn, for the points in which it becomes active.
    """
    shape = (len(lengths), cube.d)
    base = points[rng.integers(len(points), size=len(lengths))]
    moves = rng.random(shape) < max(2.0 / cube.d, 0.3)
    moves[np.arange(len(lengths)), rng.integers(cube.d, size=len(lengths))] = True
    moved = base + lengths[:, None] * rng.standard_normal(shape)
    moved = np.where(cube.is_nominal, rng.random(shape), 1.0 - np.abs(1.0 - np.abs(moved) % 2.0))
    moved = np.where(moves, moved, base)
    if cube.is_conditional.any():
        moved = np.where(base == INACTIVE, rng.random(shape), moved)
    return cube.snap(moved)


def _best(points: Array, scores: Array) -> tuple[Array, Array]:
    order = np.argsort(-scores, kind="stable")[:N_KEPT]
    return points[order], scores[order]


def design_point(number: int, d: int, seed: int) -> Array:
    """Return the point of that number, from 0, of an infinite even sequence.

    Each block of eight points is a Latin hypercube: each eighth of each axis has one point. Of 40 random
    hypercubes, the function chooses the one with the largest minimum distance.

    Args:
        number: The number of the point.
        d: The number of dimensions.
        seed: The seed of the sequence.

    Returns:
        [d] coordinates.

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
