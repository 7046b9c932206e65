"""Maximising a score over a cube of mixed axes: a scan, then round after round of mutations of the best."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

from smsweep.space.unit_cube import Array, Cube

N_ANYWHERE = 400  # points of the scan, drawn from the whole cube
N_NEAR = 300  # and around the given ones
STEPS = (0.15, 0.07, 0.03, 0.015, 0.006)  # lengths of mutations, in edges of the cube, round after round
N_MUTATIONS = 80  # a round
N_KEPT = 12  # best points, from which the next round starts


def maximise(
    score: Callable[[Array], Array], cube: Cube, near: Array, taken: Collection[bytes], rng: np.random.Generator
) -> Array:
    """Return points of high score, best first.

    near: [k, d] points that are worth searching around, k >= 1. taken: points, as bytes, that are not wanted.
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
    """Return, per length, a random one of the points with some coordinates moved by about that length.

    A coordinate without order is drawn anew. What would leave the cube is reflected at its side.
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
