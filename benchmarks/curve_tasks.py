"""Sweeps whose learning curves make early stopping hard. A value takes microseconds to compute.

`late`: a lower learning rate gives a lower final value, if the training is long enough. `crossing`: large
and regularised models start worse and end better, and schedules help only at the end. `noisy`: the noise
between epochs is larger than most differences. `mlp_digits` (search_tasks.py) is a table of real trainings.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.search_tasks import Task
from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.core.sweep import SweepConfig
from smsweep.core.trial import Params

Array = NDArray[np.float64]
REFERENCE = 20_000  # random trials that define the best and the median


class CurveTask(Protocol):
    config: SweepConfig
    length: int  # epochs of a complete training

    def true_curve(self, params: Params) -> list[float]: ...
    def observed(self, params: Params, seed: int) -> list[float]: ...
    def epoch_seconds(self, params: Params) -> float: ...
    def regret(self, value: float) -> float: ...


class Table:
    """A task of search_tasks.py that has curves."""

    def __init__(self, name: str) -> None:
        self._task = Task(name)
        self.config = self._task.config
        self.length = len(self.true_curve(self.config.space.sample(random.Random(0))))

    def true_curve(self, params: Params) -> list[float]:
        return self._task.curve(params)

    def observed(self, params: Params, seed: int) -> list[float]:
        return self._task.observed(params, seed)

    def epoch_seconds(self, params: Params) -> float:
        return self._task.seconds(params) / self.length

    def regret(self, value: float) -> float:
        return self._task.regret(value)


@dataclass(frozen=True, kw_only=True, slots=True)
class Law:
    """A synthetic task."""

    goal: str
    min_iter: int  # min_iter of early_terminate
    parameters: Mapping[str, Any]
    length: int
    noise: float
    curve: Callable[[Params, Array], Array]  # params and epochs from 1 on -> values


class Synthetic:
    def __init__(self, name: str) -> None:
        self._name, self._law = name, LAWS[name]
        self.length = self._law.length
        rule = {"type": "hyperband", "min_iter": self._law.min_iter, "eta": 3}
        metric = {"name": "score", "goal": self._law.goal}
        document = {
            "method": "bayes",
            "metric": metric,
            "parameters": self._law.parameters,
            "early_terminate": rule,
        }
        self.config = parse_sweep(document).config
        assert self.config.metric is not None
        self._sign = self.config.metric.goal.sign
        chance = random.Random(7)
        ends = [self.true_curve(self.config.space.sample(chance))[-1] for _ in range(REFERENCE)]
        self._best, self._median = min(ends, key=lambda end: self._sign * end), float(np.median(ends))

    def true_curve(self, params: Params) -> list[float]:
        values: list[float] = self._law.curve(params, np.arange(1.0, self.length + 1)).tolist()
        return values

    def observed(self, params: Params, seed: int) -> list[float]:
        rng = self._rng(params, seed)
        noise = 0.6 * rng.standard_normal() + 0.8 * rng.standard_normal(self.length)
        values: list[float] = (np.array(self.true_curve(params)) + self._law.noise * noise).tolist()
        return values

    def epoch_seconds(self, params: Params) -> float:
        return 60.0 * math.exp(0.4 * self._rng(params, "cost").standard_normal())

    def regret(self, value: float) -> float:
        return (value - self._best) / (self._median - self._best)

    def _rng(self, params: Params, salt: object) -> np.random.Generator:
        text = "|".join([self._name, str(salt), *(f"{name}={value!r}" for name, value in sorted(params.items()))])
        return np.random.default_rng(
            int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
        )


def _off(value: float, centre: float, width: float) -> float:
    return ((value - centre) / width) ** 2


def _late(params: Params, epochs: Array) -> Array:
    speed = math.log10(params["lr"]) - 0.5 * math.log10(1 - params["momentum"])
    floor = 0.15 + 0.10 * max(speed + 2.6, 0.0) ** 1.3 + 0.05 * _off(math.log10(params["decay"]), -3.5, 1.5)
    floor += 0.03 * (4 - WIDTHS.index(params["width"])) + {"a": 0.0, "b": 0.06, "c": 0.12}[params["activation"]]
    floor += 0.25 * _off(params["dropout"], 0.3, 0.5) + 2.0 * max(speed + 0.2, 0.0)
    values: Array = floor + (2.3 - floor) * np.exp(-0.6 * 10 ** (speed + 1.0) * epochs) / (1 + 0.02 * epochs)
    return values


def _crossing(params: Params, epochs: Array) -> Array:
    size = math.log2(params["width"]) / 9 * 0.5 + params["layers"] / 8 * 0.5
    decay = (math.log10(params["decay"]) + 6) / 5
    regular = 0.4 * params["dropout"] / 0.6 + 0.35 * params["augment"] + 0.25 * decay
    over, under = max(1.1 * size - regular - 0.25, 0.0), max(regular - 0.9 * size, 0.0)
    off = math.log10(params["lr"]) + 1.0 + 0.9 * size
    floor = 0.10 + 0.22 * (1 - size) ** 1.5 + 0.35 * over**1.5 + 0.4 * under**1.5 + 0.06 * _off(off, 0.0, 0.8)
    rate = 0.35 * 10 ** (0.5 * off) * (1 - 0.55 * size) * (1 - 0.4 * regular)
    error = floor + (0.9 - floor) / (1 + rate * epochs) ** 1.3 + 0.5 * max(off - 0.9, 0.0) + 0.002 * over * epochs
    done = epochs / epochs[-1]
    error += {
        "constant": 0.05 * np.ones_like(done),
        "cosine": 0.09 * np.cos(np.pi * done / 2),
        "step": np.where(done < 0.7, 0.08, 0.012),
    }[params["schedule"]]
    values: Array = 1 - np.minimum(error, 0.95)
    return values


def _noisy(params: Params, epochs: Array) -> Array:
    lr, batch = math.log10(params["lr"]), BATCHES.index(params["batch"])
    off = 0.5 * _off(lr, -3.2 + 0.15 * batch, 0.9) + 0.3 * _off(params["gamma"], 0.985, 0.03) + 0.05 * batch
    off += 0.15 * _off(math.log10(params["entropy"]), -2.7, 1.2) + 0.2 * _off(params["clip"], 0.2, 0.15)
    off += 0.0 if params["normalise"] else 0.25
    values: Array = 200 * math.exp(-off) * (1 - np.exp(-0.12 * math.exp(-0.5 * _off(lr, -2.6, 1.0)) * epochs))
    return values


def _decades(low: float, high: float) -> dict[str, Any]:
    return {"distribution": "log_uniform_values", "min": low, "max": high}


WIDTHS = [32, 64, 128, 256, 512]
BATCHES = [64, 128, 256, 512, 1024]
LAWS = {
    "late": Law(
        goal="minimize",
        min_iter=3,
        length=27,
        noise=0.02,
        curve=_late,
        parameters={
            "lr": _decades(1e-4, 1.0),
            "momentum": {"min": 0.0, "max": 0.99},
            "decay": _decades(1e-6, 0.1),
            "width": {"values": WIDTHS},
            "activation": {"values": ["a", "b", "c"]},
            "dropout": {"min": 0.0, "max": 0.7},
        },
    ),
    "crossing": Law(
        goal="maximize",
        min_iter=2,
        length=40,
        noise=0.006,
        curve=_crossing,
        parameters={
            "lr": _decades(1e-3, 1.0),
            "layers": {"min": 1, "max": 8},
            "width": {"distribution": "q_log_uniform_values", "min": 16, "max": 512, "q": 16},
            "dropout": {"distribution": "q_uniform", "min": 0.0, "max": 0.6, "q": 0.1},
            "schedule": {"values": ["constant", "cosine", "step"]},
            "augment": {"values": [False, True]},
            "decay": _decades(1e-6, 0.1),
        },
    ),
    "noisy": Law(
        goal="maximize",
        min_iter=3,
        length=30,
        noise=12.0,
        curve=_noisy,
        parameters={
            "lr": _decades(1e-5, 0.1),
            "gamma": {"min": 0.9, "max": 0.999},
            "entropy": _decades(1e-5, 0.1),
            "clip": {"min": 0.05, "max": 0.5},
            "batch": {"values": BATCHES},
            "normalise": {"values": [True, False]},
        },
    ),
}
NAMES = ("mlp_digits", *LAWS)


def load(name: str) -> CurveTask:
    return Synthetic(name) if name in LAWS else Table(name)
