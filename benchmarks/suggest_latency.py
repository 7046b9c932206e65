"""Time of one proposal: CPU milliseconds after a number of finished trials with nine parameters.

`cold` calls `smsweep.suggest` with a new history. `again` calls it for one more trial twice, and each call
reads the complete history. `agent` is a running agent, which keeps the history that it has read. Prints
medians of the sum over all threads.

    python -m benchmarks.suggest_latency [--counts 10,50,100,500,1000]
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import smsweep
from benchmarks.search_tasks import Task
from smsweep.core.trial import History, MetricStats, Trial, TrialState
from smsweep.search.bayes.search import BayesSearch

TASK = "sgd_cancer"
HISTORIES = 7
ASKED = 8  # consecutive proposals, each pending for the next


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", default="10,50,100,500,1000")
    counts = [int(n) for n in parser.parse_args().counts.split(",")]
    task = Task(TASK)
    plain_door(task, 20, seed=HISTORIES)  # first-use imports and compilation
    print("| trials | cold | again | agent |\n|---|---|---|---|")
    for count in counts:
        asked = [plain_door(task, count, seed) for seed in range(HISTORIES)]
        cold, again = (statistics.median(column) for column in zip(*asked, strict=True))
        print(f"| {count} | {cold:.0f} | {again:.0f} | {agent(task, count):.0f} |")


def plain_door(task: Task, n_trials: int, seed: int) -> tuple[float, float]:
    """Return milliseconds of the first suggestion, and the median of the later ones."""
    config = {**task.config.document, "method": "bayes"}
    trials: list[dict[str, Any]] = [
        {"params": params, "history": [{task.metric.name: value}]} for params, value in known(task, n_trials, seed)
    ]

    def ask() -> None:
        (params,) = smsweep.suggest(config, trials, seed=seed)
        trials.append({"params": params, "state": "running"})

    return milliseconds(ask), statistics.median(milliseconds(ask) for _ in range(ASKED))


def agent(task: Task, n_trials: int) -> float:
    history = History()
    for number, (params, value) in enumerate(known(task, n_trials, seed=0)):
        stats = {task.metric.name: MetricStats().add(value)}
        history.update([Trial(number=number, params=params, state=TrialState.FINISHED, metrics=stats)])
    strategy = BayesSearch(task.config.space, task.metric, seed=0)

    def ask() -> None:
        (params,) = strategy.suggest(history, 1)
        history.update([Trial(number=history.next_number, params=params, state=TrialState.RUNNING)])

    for _ in range(2):  # both models of the objectives are fitted here
        ask()
    return statistics.median(milliseconds(ask) for _ in range(ASKED))


def known(task: Task, n_trials: int, seed: int) -> list[tuple[dict[str, Any], float]]:
    rng = random.Random(seed)
    drawn = [task.config.space.sample(rng) for _ in range(n_trials)]
    return [(params, task.observed(params, seed)[-1]) for params in drawn]


def milliseconds(call: Callable[[], None]) -> float:
    started = time.process_time()
    call()
    return 1000.0 * (time.process_time() - started)


if __name__ == "__main__":
    main()
