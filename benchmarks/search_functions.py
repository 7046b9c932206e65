"""Classic functions as sweeps: shifted optima, axes of every kind, and categorical choices."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Values = Mapping[str, Any]  # of parameters by name


@dataclass(frozen=True, kw_only=True, slots=True)
class Function:
    value: Callable[[Values], float]
    noise: float  # deviation of one observation
    best: float | None = None  # if known; None: the best of a large random sample


def branin(params: Values) -> float:
    x, y = params["x1"], params["x2"]
    valley = (y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6) ** 2
    return float(valley + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10)


def ackley5(params: Values) -> float:
    """Five dimensions, two with step 0.5 and one with step 1, a shifted optimum, and one choice."""
    x = np.array([params[f"x{i}"] for i in range(1, 6)]) - [3.7, -6.2, 11.5, 4.5, -9.0]
    penalty = {"a": 0.0, "b": 1.0, "c": 2.5}[params["mode"]]
    bowl = -20 * math.exp(-0.2 * math.sqrt((x * x).mean()))
    return bowl - math.exp(np.cos(2 * math.pi * x).mean()) + 20 + math.e + penalty


HEIGHTS = np.array([1.0, 1.2, 3.0, 3.2])
STEEPNESS = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
)
PLACES = np.array(
    [
        [0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886],
        [0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991],
        [0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650],
        [0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381],
    ]
)


def hartmann6(params: Values) -> float:
    """Six dimensions and four peaks, with some axes reversed and one axis over several decades."""
    x = np.array([params[f"x{i}"] for i in range(1, 7)])
    x[2] = (math.log10(x[2]) + 3) / 6
    x[0], x[3] = 1 - x[0], 1 - x[3]
    return -float(HEIGHTS @ np.exp(-(STEEPNESS * (x - PLACES) ** 2).sum(axis=1)))


def rosenbrock4(params: Values) -> float:
    """A curved valley in four dimensions with shifted axes, on a logarithmic scale."""
    x = np.array([params[f"x{i}"] for i in range(1, 5)]) + np.array([0.3, 1.1, 0.4, 0.2])
    valley = 100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2
    return math.log1p(float(valley.sum()))


def levy5(params: Values) -> float:
    """Many local minima in a bowl: five dimensions of three kinds, and a choice of four bowls. Maximised."""
    x = np.array([params[name] for name in "abcde"]) - [2.3, -3.1, 4, -1.5, 2.2]
    kind = params["kind"]
    if kind == "tilted":
        x = x + np.array([0, 0, 0, 2, 2])
    w = 1 + x / 4
    inner = (w[:-1] - 1) ** 2 * (1 + 10 * np.sin(math.pi * w[:-1] + 1) ** 2)
    last = (w[-1] - 1) ** 2 * (1 + np.sin(2 * math.pi * w[-1]) ** 2)
    value = float(math.sin(math.pi * w[0]) ** 2 + inner.sum() + last)
    steepness = {"plain": 1.0, "tilted": 1.1, "bent": 1.6, "flat": 0.5}[kind]
    return -(value * steepness + (4.0 if kind == "flat" else 0.0))


def branches(params: Values) -> float:
    """Three models, each with separate parameters."""
    decay = math.log10(params["l2"])
    cost: float
    if params["model"] == "linear":
        cost = 0.34 + 0.015 * (decay + 1.5) ** 2 + 0.02 * params["augment"]
        return cost
    if params["model"] == "tree":
        depth, leaf = params["depth"], math.log10(params["leaf"])
        cost = 0.22 + 0.0012 * (depth - 9) ** 2 + 0.05 * (leaf - 0.9) ** 2 + 0.03 * params["augment"]
        return cost
    size, rate = math.log2(params["units"]) - 4, math.log10(params["lr"])
    fit = 0.03 * (rate + 2.6 + 0.25 * size) ** 2 + 0.02 * (decay + 3.5) ** 2 / (1 + 3 * params["dropout"])
    fit += 0.012 * (4 - size) + 0.25 * (params["dropout"] - 0.15 - 0.06 * size) ** 2
    cost = 0.12 + min(fit, 0.6) - 0.04 * params["augment"]
    return cost


FUNCTIONS: Mapping[str, Function] = {
    "branin": Function(value=branin, noise=0.5, best=0.39788735773),
    "ackley5": Function(value=ackley5, noise=0.1, best=0.0),
    "hartmann6": Function(value=hartmann6, noise=0.1, best=-3.32237),
    "rosenbrock4": Function(value=rosenbrock4, noise=0.2),
    "levy5": Function(value=levy5, noise=0.6),
    "branches": Function(value=branches, noise=0.02),
}
