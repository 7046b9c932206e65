"""Quality of a search: regret after 25, 50 and 100 trials, on tasks that take microseconds.

Trials run on a simulated clock with a fixed number of workers. Each engine receives only the config of the
sweep and the reported values. Regret is computed from the true value of the trial with the best reported
value: 0 is the best of a huge random sample, 1 is the median. Peers run in separate environments, which are
created on first use. Results are stored as lines of JSON, and stored results are not computed again.

    OMP_NUM_THREADS=1 python -m benchmarks.search_quality [--engines smsweep,wandb] [--workers 1,8] [--seeds 10]
"""

from __future__ import annotations

import argparse
import heapq
import json
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from benchmarks.ratios import leave
from benchmarks.search_tasks import NAMES, Task
from smsweep.core.trial import History, MetricStats, Params, Trial, TrialState
from smsweep.search.registry import make_strategy
from tools.environments import oracle

TRIALS = 100
MARKS = (25, 50, 100)
PEERS = {  # engine -> the environment of tools/environments.py that it needs, and its script
    "wandb": ("sweeps", "wandb_bayes.py"),
    "optuna": ("optuna", "optuna_tpe.py"),
}


class Engine(Protocol):
    """A search that proposes trials one by one. Values are in units of the metric."""

    def ask(self, number: int) -> Params: ...
    def tell(self, number: int, curve: list[float]) -> None: ...


class Ours:
    def __init__(self, task: Task, method: str, seed: int) -> None:
        self._strategy = make_strategy(replace(task.config, method=method), seed)
        self._metric = task.metric.name
        self._history = History()

    def ask(self, number: int) -> Params:
        (params,) = self._strategy.suggest(self._history, 1)
        self._history.update([Trial(number=number, params=params, state=TrialState.RUNNING)])
        return params

    def tell(self, number: int, curve: list[float]) -> None:
        trial = self._history.get(number)
        assert trial is not None
        # only the final state: peers also receive only the last value
        stats = {self._metric: MetricStats().add(curve[-1])}
        done = Trial(number=number, params=trial.params, state=TrialState.FINISHED, metrics=stats)
        self._history.update([done])


class Peer:
    """Search of another project, in a process that reads and writes lines of JSON."""

    def __init__(self, task: Task, seed: int, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._questions, self._answers = process.stdin, process.stdout
        self._send(sweep=task.config.document, seed=seed)

    def ask(self, number: int) -> Params:
        self._send(number=number)
        params: Params = json.loads(self._answers.readline())
        return params

    def tell(self, number: int, curve: list[float]) -> None:
        self._send(number=number, value=curve[-1])

    def _send(self, **what: Any) -> None:
        print(json.dumps(what), file=self._questions, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engines", default="smsweep,random,wandb,optuna")
    parser.add_argument("--tasks", default=",".join(NAMES))
    parser.add_argument("--workers", default="1,8")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("search_quality.jsonl"))
    options = parser.parse_args()
    engines, workers = options.engines.split(","), [int(n) for n in options.workers.split(",")]
    lines = options.out.read_text().splitlines() if options.out.exists() else []
    results = {tuple(row["key"]): row for row in map(json.loads, lines)}
    with options.out.open("a") as out:
        for key, task in wanted(options.tasks.split(","), engines, workers, options.seeds):
            if key not in results:
                results[key] = measured(key, task)
                print(json.dumps(results[key]), file=out, flush=True)
    report(results, engines, workers)


Key = tuple[str, str, int, int]  # engine, task, workers, seed


def wanted(tasks: list[str], engines: list[str], workers: list[int], n_seeds: int) -> Iterator[tuple[Key, Task]]:
    loaded = {name: Task(name) for name in tasks}
    for seed in range(n_seeds):
        for name, task in loaded.items():
            for engine in engines:
                yield from (((engine, name, n, seed), task) for n in workers)


def measured(key: Key, task: Task) -> dict[str, Any]:
    engine, _, n_workers, seed = key
    with process_of(engine) as process:
        started = time.process_time()
        search = Peer(task, seed, process) if process else Ours(task, ours(engine), seed)
        regrets = simulate(task, search, n_workers, seed)
        seconds = time.process_time() - started
    return {"key": key, "regrets": [round(regret, 6) for regret in regrets], "cpu_s": None if process else seconds}


def ours(engine: str) -> str:
    return "bayes" if engine == "smsweep" else engine


def process_of(engine: str) -> AbstractContextManager[subprocess.Popen[str] | None]:
    if engine not in PEERS:
        return nullcontext()
    environment, script = PEERS[engine]
    command = [str(oracle(environment).python), str(Path(__file__).parent / "search_peers" / script)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def simulate(task: Task, engine: Engine, n_workers: int, seed: int) -> list[float]:
    """Return the regret of the trial with the best reported value, after each ended trial."""
    running: list[tuple[float, int, Params]] = []  # first the end time
    now, started, best, regrets = 0.0, 0, float("inf"), list[float]()
    while running or started < TRIALS:
        while len(running) < n_workers and started < TRIALS:
            params = engine.ask(started)
            heapq.heappush(running, (now + task.seconds(params), started, params))
            started += 1
        now, number, params = heapq.heappop(running)
        curve = task.observed(params, seed)
        engine.tell(number, curve)
        looks = task.metric.goal.sign * curve[-1]
        regrets.append(task.regret(task.true(params)) if looks < best else regrets[-1])
        best = min(best, looks)
    return regrets


def report(results: Mapping[tuple[Any, ...], dict[str, Any]], engines: list[str], workers: list[int]) -> None:
    for n_workers in workers:
        last: dict[str, float] = {}  # engine -> mean regret at the end
        heads = [f"after {mark}" for mark in MARKS]
        print(
            f"\n{n_workers} at a time\n\n| engine | seeds | {' | '.join(heads)} | CPU s |\n|---|---|" + "---|" * 4
        )
        for engine in engines:
            rows = [row for key, row in results.items() if key[0] == engine and key[2] == n_workers]
            if not rows:
                continue
            by_task: dict[str, list[list[float]]] = {}
            for row in rows:
                by_task.setdefault(row["key"][1], []).append(row["regrets"])
            cells = []
            for mark in MARKS:
                means = [statistics.mean(run[mark - 1] for run in runs) for runs in by_task.values()]
                cells.append(f"{statistics.mean(means):.3f}")
            last[engine] = float(cells[-1])
            error = standard_error([[run[-1] for run in runs] for runs in by_task.values()])
            cpu = [row["cpu_s"] for row in rows if row["cpu_s"] is not None]
            seconds = f"{statistics.mean(cpu):.1f}" if cpu else "-"
            n_seeds = min(map(len, by_task.values()))
            print(f"| {engine} | {n_seeds} | {' | '.join(cells)} ± {error:.3f} | {seconds} |")
        for engine in last:
            if engine != "smsweep" and "smsweep" in last:
                leave(f"regret, {n_workers} at a time", engine, last["smsweep"], last[engine])


def standard_error(by_task: list[list[float]]) -> float:
    """Return the standard error of the mean over tasks, from the means over seeds."""
    shares = [statistics.variance(values) / len(values) if len(values) > 1 else 0.0 for values in by_task]
    error: float = statistics.mean(shares) ** 0.5 / len(shares) ** 0.5
    return error


if __name__ == "__main__":
    main()
