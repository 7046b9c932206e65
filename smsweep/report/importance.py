"""Which params distinguish good trials from other trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smsweep.core.trial import flat_params
from smsweep.report.axes import Axis
from smsweep.report.snapshot import Snapshot

METHOD = "PED-ANOVA"
SOURCE = "arXiv:2304.10255"
BEST_SHARE = 0.1  # of the trials, as in the paper
LEAST_TRIALS = 10
N_CELLS = 64  # of a numeric axis
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Importance:
    """The importance of one param."""

    axis: Axis
    share: float  # of all params' importance, in [0, 1]
    rank_correlation: float | None  # Spearman's, of param and objective; None for categories


def importances(snapshot: Snapshot) -> list[Importance]:
    """Return the importance of each param, the highest first; [] if there are too few trials.

    For each param, PED-ANOVA compares the density of its values in the best tenth of the trials with that in all
    trials, using the Pearson divergence. A param's share is its part of the sum. Equal densities mean that the
    param does not influence which trials are the best.
    """
    scored = snapshot.scored()
    if len(scored) < LEAST_TRIALS or not snapshot.axes:
        return []
    losses = np.array([value * snapshot.goal.sign for _, value in scored])
    n_best = max(2, round(len(losses) * BEST_SHARE))
    is_best = losses <= np.partition(losses, n_best - 1)[n_best - 1]
    params = [flat_params(trial["params"]) for trial, _ in scored]
    results: list[tuple[Axis, float, float | None]] = []
    for axis in snapshot.axes:
        places = [axis.place(each) for each in params]
        known = np.array([place is not None for place in places])
        scaled = np.array([axis.scaled(place) for place in places if place is not None])
        if len(scaled) < LEAST_TRIALS:
            results.append((axis, 0.0, None))
            continue
        divergence = _divergence(scaled, is_best[known], len(axis.categories))
        correlation = None if axis.categories else _spearman(scaled, losses[known]) * snapshot.goal.sign
        results.append((axis, divergence, correlation))
    total = sum(divergence for _, divergence, _ in results) or 1.0
    shares = [
        Importance(axis=axis, share=divergence / total, rank_correlation=correlation)
        for axis, divergence, correlation in results
    ]
    return sorted(shares, key=lambda each: -each.share)


def by_importance(snapshot: Snapshot) -> list[Axis]:
    """Return the axes, the most important first; in their own order if the importance is unknown."""
    ranked = [each.axis for each in importances(snapshot)]
    return ranked or list(snapshot.axes)


def _divergence(values: Floats, is_best: NDArray[np.bool_], n_categories: int) -> float:
    """Return the Pearson divergence of the density of the best trials from the density of all trials."""
    if not is_best.any() or values.min() == values.max():
        return 0.0
    if n_categories:
        cells, n = values.astype(int), n_categories
        width = 0.0
    else:
        place = (values - values.min()) / (values.max() - values.min())
        cells, n = np.minimum((place * N_CELLS).astype(int), N_CELLS - 1), N_CELLS
        width = float(np.std(place)) * len(values) ** -0.2 * N_CELLS  # Scott's rule, in cells
    best = _density(cells[is_best], n, width)
    every = _density(cells, n, width)
    return float(np.sum(every * (best / every - 1.0) ** 2))


def _density(cells: NDArray[np.int_], n: int, width: float) -> Floats:
    """Return a smoothed density over n cells. Its sum is 1 and no cell is 0."""
    counts = np.bincount(cells, minlength=n).astype(float)
    if width > 0:
        distances = np.arange(n)[:, None] - np.arange(n)[None, :]
        kernel = np.exp(-0.5 * (distances / max(width, 0.5)) ** 2)
        counts = kernel / kernel.sum(axis=0) @ counts
    counts += 1.0 / n  # the weight of one trial, evenly distributed
    return np.asarray(counts / counts.sum())


def _spearman(x: Floats, y: Floats) -> float:
    a, b = _ranks(x), _ranks(y)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _ranks(values: Sequence[float] | Floats) -> Floats:
    """Return ranks. Equal values get the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse])
