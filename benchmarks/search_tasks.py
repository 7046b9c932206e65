"""Sweeps whose trials take microseconds: classic functions, and tables of real trainings, fitted by trees.

Each task in `tasks/` is the YAML of its sweep, and the reference values of a large random sample
(`.ref.npz`). A task with an `.npz` file is a forest that was fitted to a dense table of scikit-learn
trainings. The noise is repeatable, because it depends only on the params and the seed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.search_functions import FUNCTIONS
from smsweep.config_files.sweep_yaml import read_sweep
from smsweep.core.sweep import SweepConfig
from smsweep.space.choices import Categorical, Constant
from smsweep.space.numeric import LogScale

Array = NDArray[np.float64]
Values = Mapping[str, Any]

HOME = Path(__file__).parent / "tasks"
NAMES = ("mlp_digits", "sgd_cancer", "rf_diabetes", "branin", "ackley5")
# further tasks, so that settings are not chosen with these five only
TUNED_ON = ("svm_digits", "knn_wine", "logreg_digits", "hartmann6", "rosenbrock4", "levy5", "branches")
UNSEEN = ("gbdt_friedman", "mlp_friedman")  # not used to choose settings


class Task:
    """One sweep as a benchmark task. Values are in units of its metric."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.config = read_sweep(HOME / f"{name}.yaml").config
        assert self.config.metric is not None
        self.metric = self.config.metric
        self._curve, self._duration, self._noise = (function if name in FUNCTIONS else forest)(self)
        reference = np.load(HOME / f"{name}.ref.npz")
        self._best, self._median = float(reference["best"]), float(reference["median"])

    def curve(self, params: Values) -> list[float]:
        """Return the learning curve of a complete training without noise."""
        return self._curve(params)

    def true(self, params: Values) -> float:
        """Return the final value of a complete training without noise."""
        return self._curve(params)[-1]

    def observed(self, params: Values, seed: int) -> list[float]:
        """Return the learning curve of a complete training with noise."""
        curve, rng = np.array(self._curve(params)), self._rng(params, seed)
        if len(curve) == 1:
            return [float(curve[0] + self._noise * rng.standard_normal())]
        run, steps = rng.standard_normal(), rng.standard_normal(len(curve))
        noisy: list[float] = (curve + self._noise * (0.8 * run + 0.6 * steps)).tolist()
        return noisy

    def seconds(self, params: Values) -> float:
        """Return the duration of a complete training on the simulated clock, in seconds."""
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
Duration = Callable[[Values, np.random.Generator], float]  # seconds per epoch


def function(task: Task) -> tuple[Curve, Duration, float]:
    law = FUNCTIONS[task.name]
    return (lambda params: [law.value(params)]), _about_a_minute, law.noise


def _about_a_minute(params: Values, rng: np.random.Generator) -> float:
    return 60.0 * math.exp(0.5 * rng.standard_normal())


def forest(task: Task) -> tuple[Curve, Duration, float]:
    """Read the trees of a task. A leaf holds the components of a curve, and the log seconds of an epoch."""
    data = np.load(HOME / f"{task.name}.npz")
    feature, left, right, roots = (data[key].astype(np.int64) for key in ("feature", "left", "right", "roots"))
    threshold, leaves = data["thr"].astype(float), data["value"].astype(float)
    mean, components, depth = data["mean"].astype(float), data["comp"].astype(float), int(data["depth"])
    is_logarithm = str(data["transform"]) == "exp"

    def leaf(params: Values) -> Array:
        x, node = features(task.config, params), roots
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


def features(config: SweepConfig, params: Values) -> Array:
    """Return the features of the trees: logarithms of params that span decades, 0 or 1 for each category."""
    found: list[float] = []
    for (name,), leaf in config.space.leaves:
        value = params[name]
        if isinstance(leaf, Categorical):
            values = leaf.values
            if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
                spans = min(values) > 0 and max(values) / min(values) >= 16
                found.append(math.log(value) if spans else float(value))
            else:
                found.extend(float(value == v and type(value) is type(v)) for v in values)
        elif isinstance(leaf, LogScale):
            found.append(math.log(max(float(value), 1e-300)))
        elif not isinstance(leaf, Constant):
            found.append(float(value))
    return np.array(found)
