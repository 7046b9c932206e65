"""Measure what `search.beliefs` gains if the beliefs are right, and what it costs if they are wrong.

A right belief is around the best of a large random sample. A wrong belief is half of the range away from it, or
around another listed value. Each run makes 50 trials, one at a time. The regret is 0 for the best of a very large
random sample, and 1 for its median. The table shows means over all tasks and seeds, with the standard error of the
difference from the run without beliefs.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
from collections.abc import Mapping
from dataclasses import replace

from benchmarks.search_tasks import Task
from smsweep.core.job import JobTemplate, SearchSettings
from smsweep.core.trial import History, MetricStats, Trial, TrialState, flat_params
from smsweep.search.registry import make_strategy
from smsweep.space.belief import Belief
from smsweep.space.numeric import coordinate_of

TASKS = ("branin", "hartmann6", "rosenbrock4", "levy5", "mlp_digits", "sgd_cancer")
KINDS = ("none", "right", "wrong")
AFTER = (10, 25, 50)
SAMPLE = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--methods", default="bayes,random")
    parser.add_argument("--confidence", type=float, default=0.8)
    parser.add_argument("--seeds", type=int, default=10)
    args = parser.parse_args()
    for method in args.methods.split(","):
        regrets: dict[str, list[list[float]]] = {kind: [] for kind in KINDS}
        for task in map(Task, args.tasks.split(",")):
            for kind, beliefs in beliefs_of(task, args.confidence).items():
                regrets[kind] += [simulated(task, method, beliefs, seed) for seed in range(args.seeds)]
        print(f"{method:8}" + "".join(f"{f'after {n}':>22}" for n in AFTER))
        for kind in KINDS:
            cells = [cell(regrets, kind, i) for i in range(len(AFTER))]
            print(f"{kind:8}" + "".join(f"{text:>22}" for text in cells), flush=True)


def cell(regrets: Mapping[str, list[list[float]]], kind: str, i: int) -> str:
    """Return the mean regret, and its difference from the runs without beliefs."""
    values, base = ([run[i] for run in regrets[each]] for each in (kind, "none"))
    text = f"{statistics.fmean(values):.3f}"
    if kind == "none":
        return text
    differences = [value - other for value, other in zip(values, base, strict=True)]
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    return f"{text} ({statistics.fmean(differences):+.3f} ± {error:.3f})"


def beliefs_of(task: Task, confidence: float) -> dict[str, dict[str, Belief]]:
    """Return no beliefs, right ones and wrong ones, about all parameters of a task."""
    rng = random.Random(0)
    space, sign = task.config.space, task.metric.goal.sign
    sample = [space.sample(rng) for _ in range(SAMPLE)]
    best = flat_params(min(sample, key=lambda params: sign * task.true(params)))
    right, wrong = {}, {}
    for path, leaf in space.leaves:
        name = ".".join(path)
        if leaf.size == 1 or name not in best:
            continue
        number = leaf.index_of(best[name])
        far = (
            leaf.value_at((number + leaf.size // 2) % leaf.size)
            if number is not None and leaf.size is not None
            else leaf.ppf((coordinate_of(leaf, best[name]) + 0.5) % 1.0)
        )
        right[name] = Belief(around=best[name], confidence=confidence)
        wrong[name] = Belief(around=far, confidence=confidence)
    return {"none": {}, "right": right, "wrong": wrong}


def simulated(task: Task, method: str, beliefs: Mapping[str, Belief], seed: int) -> list[float]:
    """Return the regret of the trial with the best reported value, after each number of trials."""
    config = replace(task.config, method=method)
    job = JobTemplate(search=SearchSettings(beliefs=beliefs))
    strategy, history, sign = make_strategy(config, seed, job), History(), task.metric.goal.sign
    best, regret, regrets = math.inf, math.nan, []
    for number in range(max(AFTER)):
        params = strategy.suggest(history, 1)[0]
        value = task.observed(params, seed)[-1]
        if sign * value < best:
            best, regret = sign * value, task.regret(task.true(params))
        stats = {task.metric.name: MetricStats().add(value)}
        history.update([Trial(number=number, params=params, state=TrialState.FINISHED, metrics=stats)])
        if number + 1 in AFTER:
            regrets.append(regret)
    return regrets


if __name__ == "__main__":
    main()
