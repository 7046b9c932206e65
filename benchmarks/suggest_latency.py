"""What it costs to ask for a trial: CPU milliseconds after so many finished trials of nine parameters.

`again` is the usual case of a running agent: one more trial from data that changed little. `first` is an agent
just started: everything is read and fitted anew. All threads are added up.

    OMP_NUM_THREADS=1 python -m benchmarks.suggest_latency [--counts 10,50,100,500,1000]
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable

from benchmarks.search_tasks import Task
from smsweep.search.bayes_search import BayesSearch
from smsweep.trials import History, MetricStats, Trial, TrialState

ASKED = 8  # trials asked for in a row, each left pending


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", default="10,50,100,500,1000")
    counts = [int(n) for n in parser.parse_args().counts.split(",")]
    print("| trials | first | again |\n|---|---|---|")
    for count in counts:
        first, again = cost(count)
        print(f"| {count} | {first:.0f} | {again:.0f} |")


def cost(n_trials: int) -> tuple[float, float]:
    """Return milliseconds of the first suggestion, and the median of those after it."""
    task, rng = Task("sgd_cancer"), random.Random(5)
    history = History()
    for number in range(n_trials):
        params = task.config.space.sample(rng)
        stats = {task.metric.name: MetricStats().add(task.observed(params, 0)[-1])}
        history.update([Trial(number=number, params=params, state=TrialState.FINISHED, metrics=stats)])
    strategy = BayesSearch(task.config, seed=0)

    def ask() -> None:
        (params,) = strategy.suggest(history, 1)
        history.update([Trial(number=history.next_number, params=params, state=TrialState.RUNNING)])

    first = milliseconds(ask)
    ask()  # the other view of the objectives is fitted here
    return first, statistics.median(milliseconds(ask) for _ in range(ASKED))


def milliseconds(call: Callable[[], None]) -> float:
    started = time.process_time()
    call()
    return 1000.0 * (time.process_time() - started)


if __name__ == "__main__":
    main()
