"""Sweeps whose trials take microseconds: classic functions, and tables of real trainings learnt by trees.

In `tasks/`, a task is its sweep's YAML and, next to it, reference values of a large random sample (`.ref.npz`).
Those with an `.npz` of their own are forests fitted to a dense table of scikit-learn trainings. Noise is
repeatable: it follows from the params and the seed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smsweep.config.sweep_yaml import read_sweep
from smsweep.space.choices import Categorical, Constant
from smsweep.space.numeric import LogScale
from smsweep.space.space import Path as LeafPath

Array = NDArray[np.float64]
Values = Mapping[str, Any]

HOME = Path(__file__).parent / "tasks"
NAMES = ("mlp_digits", "sgd_cancer", "rf_diabetes", "branin", "ackley5")


class Task:
    """One sweep to be solved. Values are in units of its metric."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.config = read_sweep(HOME / f"{name}.yaml").config
        assert self.config.metric is not None
        self.metric = self.config.metric
        self._curve, self._duration, self._noise = FUNCTIONS[name]() if name in FUNCTIONS else forest(self)
        reference = np.load(HOME / f"{name}.ref.npz")
        self._best, self._median = float(reference["best"]), float(reference["median"])

    def curve(self, params: Values) -> list[float]:
        """Return the learning curve of a whole training without noise."""
        return self._curve(params)

    def true(self, params: Values) -> float:
        """Return what a whole training would give without noise."""
        return self._curve(params)[-1]

    def observed(self, params: Values, seed: int) -> list[float]:
        """Return the noisy learning curve of a whole training."""
        curve, rng = np.array(self._curve(params)), self._rng(params, seed)
        if len(curve) == 1:
            return [float(curve[0] + self._noise * rng.standard_normal())]
        run, steps = rng.standard_normal(), rng.standard_normal(len(curve))
        noisy: list[float] = (curve + self._noise * (0.8 * run + 0.6 * steps)).tolist()
        return noisy

    def seconds(self, params: Values) -> float:
        """Return how long a whole training takes on the simulated clock."""
        rng = self._rng(params, "cost")
        return self._duration(params, rng) * len(self._curve(params))

    def regret(self, value: float) -> float:
        """Return 0 for the best of a huge random sample, 1 for its median; slightly negative is possible."""
        return (value - self._best) / (self._median - self._best)

    def _rng(self, params: Values, salt: object) -> np.random.Generator:
        words = [self.name, str(salt)]
        for name, value in sorted(params.items()):
            is_word = isinstance(value, (bool, str))
            words.append(f"{name}={value!r}" if is_word else f"{name}={float(value):.9g}")
        digest = hashlib.blake2b("|".join(words).encode(), digest_size=8).digest()
        return np.random.default_rng(int.from_bytes(digest, "little"))


Curve = Callable[[Values], list[float]]
Duration = Callable[[Values, np.random.Generator], float]  # seconds an epoch


def branin() -> tuple[Curve, Duration, float]:
    def value(params: Values) -> list[float]:
        x, y = params["x1"], params["x2"]
        valley = (y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6) ** 2
        return [valley + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10]

    return value, _a_minute_or_so, 0.5


def ackley5() -> tuple[Curve, Duration, float]:
    """Five dimensions, two of them in halves and one whole, the optimum off the centre, and one choice."""

    def value(params: Values) -> list[float]:
        x = np.array([params[f"x{i}"] for i in range(1, 6)]) - [3.7, -6.2, 11.5, 4.5, -9.0]
        penalty = {"a": 0.0, "b": 1.0, "c": 2.5}[params["mode"]]
        bowl = -20 * math.exp(-0.2 * math.sqrt((x * x).mean()))
        return [bowl - math.exp(np.cos(2 * math.pi * x).mean()) + 20 + math.e + penalty]

    return value, _a_minute_or_so, 0.1


FUNCTIONS = {"branin": branin, "ackley5": ackley5}


def _a_minute_or_so(params: Values, rng: np.random.Generator) -> float:
    return 60.0 * math.exp(0.5 * rng.standard_normal())


def forest(task: Task) -> tuple[Curve, Duration, float]:
    """Read the trees of a task; each leaf holds components of a learning curve and the log seconds of an epoch."""
    data = np.load(HOME / f"{task.name}.npz")
    feature, left, right, roots = (data[key].astype(np.int64) for key in ("feature", "left", "right", "roots"))
    threshold, leaves = data["thr"].astype(float), data["value"].astype(float)
    mean, components, depth = data["mean"].astype(float), data["comp"].astype(float), int(data["depth"])
    is_logarithm = str(data["transform"]) == "exp"

    def leaf(params: Values) -> Array:
        x, node = _features(task, params), roots
        for _ in range(depth):
            node = np.where(x[feature[node]] <= threshold[node], left[node], right[node])
        average: Array = leaves[node].mean(axis=0)
        return average

    def curve(params: Values) -> list[float]:
        values = mean + leaf(params)[:-1] @ components
        listed: list[float] = (np.exp(values) if is_logarithm else values).tolist()
        return listed

    def duration(params: Values, rng: np.random.Generator) -> float:
        return math.exp(leaf(params)[-1])

    return curve, duration, float(data["noise"])


def _features(task: Task, params: Values) -> Array:
    """Return what the trees split on: logarithms of what spans decades, a 0 or 1 for each word."""
    features: list[float] = []
    for (name,), leaf in _leaves(task):
        value = params[name]
        if isinstance(leaf, Categorical):
            values = leaf.values
            if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
                spans = min(values) > 0 and max(values) / min(values) >= 16
                features.append(math.log(value) if spans else float(value))
            else:
                features.extend(float(value == v and type(value) is type(v)) for v in values)
        elif isinstance(leaf, LogScale):
            features.append(math.log(max(float(value), 1e-300)))
        elif not isinstance(leaf, Constant):
            features.append(float(value))
    return np.array(features)


def _leaves(task: Task) -> tuple[tuple[LeafPath, object], ...]:
    return task.config.space.leaves
