"""Measure what `search.conditions` gain in a search, on a function with nested conditions and a known optimum.

`ignored` is a bayes search without conditions: it varies all parameters in all trials, and the function ignores
those that do not apply. Each run makes 60 trials, one at a time. The regret is 0 at the optimum, and 1 for the
median of random params. The table shows means over all seeds, with the standard error of the difference from
bayes.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
from collections.abc import Mapping
from typing import Any

from smsweep.core.sweep import Metric
from smsweep.core.trial import History, MetricStats, Trial, TrialState
from smsweep.search.base import SearchStrategy
from smsweep.search.bayes.search import BayesSearch
from smsweep.search.grid_and_random import RandomSearch
from smsweep.space.distributions import Categorical, IntUniform, LogUniformValues, Uniform
from smsweep.space.space import SearchSpace
from smsweep.space.structure import Allowed, Condition

PARAMETERS = {
    "model": Categorical(values=("svm", "forest", "net")),
    "c": LogUniformValues(min=1e-3, max=1e3),
    "svm_kernel": Categorical(values=("linear", "rbf")),
    "gamma": LogUniformValues(min=1e-4, max=10.0),
    "trees": LogUniformValues(min=10.0, max=1000.0),
    "depth": IntUniform(min=1, max=20),
    "layers": IntUniform(min=1, max=3),
    "lr": LogUniformValues(min=1e-5, max=1.0),
    "optimizer": Categorical(values=("adam", "sgd")),
    "momentum": Uniform(min=0.0, max=0.99),
    "dropout": Uniform(min=0.0, max=0.8),
}
WHEN: Mapping[str, Mapping[str, Allowed]] = {
    "c": {"model": Allowed(values=("svm",))},
    "svm_kernel": {"model": Allowed(values=("svm",))},
    "gamma": {"svm_kernel": Allowed(values=("rbf",))},
    "trees": {"model": Allowed(values=("forest",))},
    "depth": {"model": Allowed(values=("forest",))},
    "layers": {"model": Allowed(values=("net",))},
    "lr": {"model": Allowed(values=("net",))},
    "optimizer": {"model": Allowed(values=("net",))},
    "momentum": {"optimizer": Allowed(values=("sgd",))},
    "dropout": {"layers": Allowed(min=2)},
}
SPACE = SearchSpace(PARAMETERS, tuple(Condition(parameter=name, when=when) for name, when in WHEN.items()))
NOISE = 0.02
METHODS = ("bayes", "ignored", "random")
AFTER = (10, 20, 30, 60)
SAMPLE = 20_000


def true_value(params: Mapping[str, Any]) -> float:
    """Return the objective, which is 0 at its minimum: a net with two layers, sgd, and the best values of each."""
    if params["model"] == "svm":
        base: float = 0.25 + 0.04 * (math.log10(params["c"]) - 1.0) ** 2
        if params["svm_kernel"] == "linear":
            return base + 0.15
        return float(base + 0.03 * (math.log10(params["gamma"]) + 2.0) ** 2)
    if params["model"] == "forest":
        trees, depth = float(math.log10(params["trees"])), float(params["depth"])
        return 0.15 + 0.1 * (trees - 2.6) ** 2 + 0.002 * (depth - 13.0) ** 2
    value: float = 0.1 * abs(params["layers"] - 2)
    if params["optimizer"] == "adam":
        value += 0.08 + 0.06 * (math.log10(params["lr"]) + 3.0) ** 2
    else:
        shift = 1.5 * (params["momentum"] - 0.9)  # a higher momentum needs a lower rate
        value += 0.06 * (math.log10(params["lr"]) + 2.0 + shift) ** 2 + 0.4 * (params["momentum"] - 0.9) ** 2
    return float(value + (0.5 * (params["dropout"] - 0.3) ** 2 if params["layers"] >= 2 else 0.0))


def strategy_of(method: str, seed: int) -> SearchStrategy:
    if method == "random":
        return RandomSearch(SPACE, seed)
    return BayesSearch(SPACE if method == "bayes" else SearchSpace(PARAMETERS), Metric(name="loss"), seed)


def simulated(method: str, seed: int) -> list[float]:
    """Return the true value of the trial with the best reported value, after each number of trials."""
    strategy, history, noise = strategy_of(method, seed), History(), random.Random(seed)
    best, found, values = math.inf, math.nan, []
    for number in range(max(AFTER)):
        params = strategy.suggest(history, 1)[0]
        true = true_value(params)
        value = true + NOISE * noise.gauss(0.0, 1.0)
        if value < best:
            best, found = value, true
        stats = {"loss": MetricStats().add(value)}
        history.update([Trial(number=number, params=params, state=TrialState.FINISHED, metrics=stats)])
        if number + 1 in AFTER:
            values.append(found)
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    args = parser.parse_args()
    rng = random.Random(0)
    median = statistics.median(true_value(SPACE.sample(rng)) for _ in range(SAMPLE))
    print(f"{'':8}" + "".join(f"{f'after {n}':>24}" for n in AFTER))
    base: list[list[float]] = []
    for method in METHODS:
        runs = [[value / median for value in simulated(method, seed)] for seed in range(args.seeds)]
        base = base or runs
        print(f"{method:8}" + "".join(f"{cell(runs, base, i):>24}" for i in range(len(AFTER))), flush=True)


def cell(runs: list[list[float]], base: list[list[float]], i: int) -> str:
    """Return the mean regret, and its difference from the first method."""
    text = f"{statistics.fmean(run[i] for run in runs):.3f}"
    if runs is base:
        return text
    differences = [run[i] - other[i] for run, other in zip(runs, base, strict=True)]
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    return f"{text} ({statistics.fmean(differences):+.3f} ± {error:.3f})"


if __name__ == "__main__":
    main()
