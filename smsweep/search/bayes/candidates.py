"""Maximise a score over a cube of mixed axes: a scan, then several rounds of mutations of the best points."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

from smsweep.space.unit_cube import Array, Cube

N_ANYWHERE = 400  # points of the scan, drawn from the whole cube
N_NEAR = 300  # points of the scan, near the given points
STEPS = (0.15, 0.07, 0.03, 0.015, 0.006)  # lengths of the mutations of each round, in edges of the cube
N_MUTATIONS = 80  # per round
N_KEPT = 12  # best points that the next round starts from


def maximise(
    score: Callable[[Array], Array], cube: Cube, near: Array, taken: Collection[bytes], rng: np.random.Generator
) -> Array:
    """Return points with a high score, best first.

    Args:
        score: Returns the score of each of [n, d] points.
        cube: The cube of the points.
        near: [k, d] points to search around, k >= 1.
        taken: Points to leave out, as bytes.
        rng: The random numbers.
    """

    def scored(points: Array) -> tuple[Array, Array]:
        free = points[[point.tobytes() not in taken for point in points]]
        return free, score(free)

    lengths = np.exp(rng.uniform(np.log(0.01), np.log(0.4), N_NEAR))
    scan = np.vstack([cube.snap(rng.random((N_ANYWHERE, cube.d))), mutated(near, lengths, cube, rng)])
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

    A coordinate without an order is drawn again. A coordinate that leaves the cube is reflected at its side.
    """
    shape = (len(lengths), cube.d)
    base = points[rng.integers(len(points), size=len(lengths))]
    moves = rng.random(shape) < max(2.0 / cube.d, 0.3)
    moves[np.arange(len(lengths)), rng.integers(cube.d, size=len(lengths))] = True
    moved = base + lengths[:, None] * rng.standard_normal(shape)
    moved = np.where(cube.is_nominal, rng.random(shape), 1.0 - np.abs(1.0 - np.abs(moved) % 2.0))
    return cube.snap(np.where(moves, moved, base))


def _best(points: Array, scores: Array) -> tuple[Array, Array]:
    order = np.argsort(-scores, kind="stable")[:N_KEPT]
    return points[order], scores[order]


BLOCK = 8  # points of one Latin hypercube
DRAWS = 40  # hypercubes to choose from


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
