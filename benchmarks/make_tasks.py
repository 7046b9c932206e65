"""Create the tables of real trainings for `search_tasks`, and missing reference values of all tasks.

A table is a forest of randomised trees, fitted to some hundred trainings with random params. Learning
curves are stored as a mean and a few components. Needs scikit-learn, and takes minutes.

    python -m benchmarks.make_tasks svm_digits hartmann6
"""

from __future__ import annotations

import argparse
import math
import random
import time
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesRegressor

from benchmarks.search_functions import FUNCTIONS
from benchmarks.search_tasks import HOME, Task, features
from benchmarks.trainings import TRAININGS
from smsweep.config_files.sweep_yaml import read_sweep

N_TRAININGS = {"gbdt_friedman": 800, "mlp_friedman": 600}
USUALLY = 1500
N_TREES = 24
N_COMPONENTS = 6
NOISE = 0.12  # deviation of one observation, in units of the distance from the best to the median training
N_REFERENCE = 20_000  # random params that define the best and the median


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="+")
    for name in parser.parse_args().tasks:
        if name in TRAININGS:
            table(name)
        if name in TRAININGS or not (HOME / f"{name}.ref.npz").exists():
            reference(name)


def table(name: str) -> None:
    config = read_sweep(HOME / f"{name}.yaml").config
    assert config.metric is not None
    chance, rows, curves, seconds = random.Random(1), [], [], []
    for _ in range(N_TRAININGS.get(name, USUALLY)):
        params = config.space.sample(chance)
        started = time.process_time()
        curves.append(TRAININGS[name](params, 0))
        seconds.append(math.log((time.process_time() - started) / len(curves[-1])))
        rows.append(features(config, params))
    values = np.array(curves)
    mean, components = values.mean(axis=0), np.eye(1)
    if values.shape[1] > 1:
        components = PCA(N_COMPONENTS).fit(values).components_
    parts = (values - mean) @ components.T
    targets = np.column_stack([parts, seconds])
    forest = ExtraTreesRegressor(N_TREES, min_samples_leaf=2, random_state=0).fit(np.array(rows), targets)
    ends = config.metric.goal.sign * values[:, -1]
    noise = NOISE * (np.median(ends) - np.quantile(ends, 0.003))
    np.savez_compressed(
        HOME / f"{name}.npz", **flattened(forest), mean=mean, comp=components, noise=noise, transform="id"
    )


def flattened(forest: Any) -> dict[str, Any]:
    """Return all trees as one table of nodes. The successor of a leaf is the leaf."""
    columns: dict[str, list[Any]] = {"feature": [], "thr": [], "left": [], "right": [], "value": []}
    roots, offset = [], 0
    for estimator in forest.estimators_:
        tree = estimator.tree_
        own, is_leaf = np.arange(tree.node_count), tree.children_left < 0
        columns["feature"].append(np.where(is_leaf, 0, tree.feature).astype(np.int8))
        columns["thr"].append(tree.threshold.astype(np.float32))
        columns["left"].append((np.where(is_leaf, own, tree.children_left) + offset).astype(np.int32))
        columns["right"].append((np.where(is_leaf, own, tree.children_right) + offset).astype(np.int32))
        columns["value"].append(tree.value[:, :, 0].astype(np.float16))
        roots.append(offset)
        offset += tree.node_count
    depth = max(estimator.tree_.max_depth for estimator in forest.estimators_)
    table = {name: np.concatenate(parts) for name, parts in columns.items()}
    return {**table, "roots": np.array(roots, dtype=np.int32), "depth": depth}


def reference(name: str) -> None:
    config = read_sweep(HOME / f"{name}.yaml").config
    np.savez_compressed(HOME / f"{name}.ref.npz", best=0.0, median=1.0)  # a task needs a placeholder to be read
    task, chance = Task(name), random.Random(7)
    values = np.array([task.true(config.space.sample(chance)) for _ in range(N_REFERENCE)])
    sign = task.metric.goal.sign
    known = FUNCTIONS[name].best if name in FUNCTIONS else None
    best = sign * float((sign * values).min()) if known is None else known
    np.savez_compressed(HOME / f"{name}.ref.npz", best=best, median=float(np.median(values)))


if __name__ == "__main__":
    main()
