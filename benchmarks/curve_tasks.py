"""Sweeps whose learning curves make early stopping hard. A value takes microseconds to compute.

`late`: a lower learning rate gives a lower final value, if the training is long enough. `crossing`: large
and regularised models start worse and end better, and schedules help only at the end. `noisy`: the noise
between epochs is larger than most differences. `mlp_digits` (search_tasks.py) is a table of real trainings.
`lcdb-ID` is a data set of the Learning Curve Database.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import random
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.search_tasks import Task
from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.core.sweep import SweepConfig
from smsweep.core.trial import Params
from tools.environments import VENVS, oracle
from tools.pins import pinned

Array = NDArray[np.float64]
REFERENCE = 20_000  # random trials that define the best and the median


class CurveTask(Protocol):
    config: SweepConfig
    length: int  # epochs of a complete training
    whole: int  # number of trainings whose epochs fit into the budget
    n_draws: int  # number of different params; a large number if they are continuous

    def draw(self, seed: int, number: int) -> Params: ...  # random params of a trial
    def true_curve(self, params: Params) -> list[float]: ...
    def observed(self, params: Params, seed: int) -> list[float]: ...
    def epoch_seconds(self, params: Params) -> float: ...
    def regret(self, value: float) -> float: ...


class Drawn:
    """Draws the params of random search, the same ones for all engines."""

    config: SweepConfig
    whole = 52
    n_draws = 10**9

    def draw(self, seed: int, number: int) -> Params:
        return self.config.space.sample(random.Random(f"{seed}|{number}"))


class Table(Drawn):
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


class Synthetic(Drawn):
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


class SampleSizes:
    """A data set of LCDB: the error of scikit-learn's learners by the size of the training set.

    An epoch is the next size, about 1.41 times the last one. The only parameter is the learner. The observed value
    is the error on validation data for one split, the true value is the mean error on test data over all splits.
    """

    whole = 6

    def __init__(self, name: str) -> None:
        data = np.load(lcdb() / f"{name}.npz")
        self._learners: list[str] = json.loads(str(data["learners"]))
        self._valid, self._true = (
            data["valid"],
            data["test"].mean(axis=2),
        )  # [learner, size, split], [learner, size]
        self.length, self.n_draws = self._true.shape[1], len(self._learners)
        document = {
            "method": "random",
            "metric": {"name": "error", "goal": "minimize"},
            "parameters": {"learner": {"values": self._learners}},
            "early_terminate": {"type": "hyperband", "min_iter": 4, "eta": 2},
        }
        self.config = parse_sweep(document).config
        self._best, self._median = float(self._true[:, -1].min()), float(np.median(self._true[:, -1]))

    def draw(self, seed: int, number: int) -> Params:
        order = random.Random(seed).sample(self._learners, len(self._learners))
        return {"learner": order[number % len(order)]}

    def true_curve(self, params: Params) -> list[float]:
        values: list[float] = self._true[self._learners.index(params["learner"])].tolist()
        return values

    def observed(self, params: Params, seed: int) -> list[float]:
        curves = self._valid[self._learners.index(params["learner"])]
        values: list[float] = curves[:, seed % curves.shape[1]].tolist()
        return values

    def epoch_seconds(self, params: Params) -> float:
        return 60.0

    def regret(self, value: float) -> float:
        return (value - self._best) / max(self._median - self._best, 1e-3)


@cache
def lcdb() -> Path:
    """Return the folder with the data sets of LCDB (https://github.com/fmohr/lcdb); the first use exports them."""
    folder = VENVS / "lcdb"
    if not folder.exists():
        draft = folder.with_name("lcdb.part")
        draft.mkdir(parents=True, exist_ok=True)
        pins = draft / "pins.txt"
        pins.write_text(f"lcdb==0.1.0 --hash=sha256:{LCDB_HASH}\n")
        options = ["--no-build-isolation", "--quiet", "--dest", str(draft)]  # the data need no build
        subprocess.run([str(oracle("tools").python), "-m", "pip", *pinned("download", pins), *options], check=True)
        export_lcdb(draft / "lcdb-0.1.0.tar.gz", draft)
        draft.rename(folder)
    return folder


def export_lcdb(archive: Path, folder: Path) -> None:
    """Write one file per data set in which at least 15 learners have 15 or more sizes for 5 or more splits."""
    errors: dict[str, dict[tuple[str, int], dict[str, tuple[float, float]]]] = {}
    with tarfile.open(archive) as tar:
        file = tar.extractfile("lcdb-0.1.0/lcdb/database-accuracy.csv")
        assert file is not None
        for row in csv.DictReader(io.TextIOWrapper(file, "utf-8")):
            cell = errors.setdefault(row["openmlid"], {}).setdefault((row["learner"], int(row["size_train"])), {})
            split = f"{row['outer_seed']}/{row['inner_seed']}"
            cell[split] = (1 - float(row["score_valid"]), 1 - float(row["score_test"]))
    for name, cells in errors.items():
        sizes = sorted({size for _, size in cells})
        splits = sorted(set.intersection(*(set(cells[key]) for key in cells if key[1] == sizes[0])))
        learners = [
            learner
            for learner in sorted({learner for learner, _ in cells})
            if all(set(splits) <= set(cells.get((learner, size), ())) for size in sizes)
        ]
        if len(sizes) >= 15 and len(learners) >= 15 and len(splits) >= 5:
            values = np.array([[[cells[a, size][s] for s in splits] for size in sizes] for a in learners])
            np.savez_compressed(
                folder / f"lcdb-{name}.npz",
                learners=json.dumps(learners),
                valid=values[..., 0],
                test=values[..., 1],
            )


LCDB_HASH = "450ea69b249866298653f718d66a825e3d19a4024dd4ff140b89f2e04d4777ae"
NAMES = ("mlp_digits", *LAWS)


def names() -> list[str]:
    """Return the names of all tasks."""
    return [*NAMES, *sorted(file.stem for file in lcdb().glob("*.npz"))]


def load(name: str) -> CurveTask:
    if name.startswith("lcdb-"):
        return SampleSizes(name)
    return Synthetic(name) if name in LAWS else Table(name)
