"""Quality of early stopping: regret after the epochs of 52 complete trainings, with 8 concurrent trials.

An engine is a search and a rule, for example `bayes+forecast`; `+none` stops no trial. Trials run on a
simulated clock and report after each epoch. Regret is computed from the true value of the best ended trial,
complete or stopped: 0 is the best of a large random sample, 1 is the median. Peers run in separate
environments. Results are stored as lines of JSON, and stored results are not computed again.

    OMP_NUM_THREADS=1 python -m benchmarks.curve_quality [--engines bayes+none,bayes+forecast] [--seeds 10]
"""

from __future__ import annotations

import argparse
import heapq
import json
import statistics
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from benchmarks.curve_tasks import NAMES, CurveTask, load
from benchmarks.ratios import leave
from smsweep.core.sweep import EarlyTerminate
from smsweep.core.trial import History, MetricStats, Params, Trial, TrialState
from smsweep.search.registry import make_strategy
from smsweep.stopping.registry import RULES, make_rule
from tools.environments import oracle

WORKERS = 8
WHOLE = 52  # number of trainings whose epochs fit into the budget
MOST = 400  # maximum number of trials, if a rule stops nearly all of them immediately
OURS = ("bayes+none", "bayes+forecast", "bayes+hyperband", "bayes+asha", "random+none", "random+forecast")
PEERS = {  # engine -> environment of tools/environments.py, script, method
    "W&B random+hyperband": ("sweeps", "wandb_hyperband.py", "random"),
    "W&B bayes+hyperband": ("sweeps", "wandb_hyperband.py", "bayes"),
    "Optuna random+halving": ("optuna", "optuna_halving.py", "random"),
    "Optuna TPE+halving": ("optuna", "optuna_halving.py", "bayes"),
}


class Engine(Protocol):
    def ask(self, number: int) -> Params: ...
    def stops(self, number: int, curve: list[float]) -> bool: ...
    def tell(self, number: int, curve: list[float], *, is_whole: bool) -> None: ...


class Ours:
    def __init__(self, task: CurveTask, name: str, seed: int) -> None:
        method, _, rule = name.partition("+")
        terminate = task.config.early_terminate
        assert terminate is not None and task.config.metric is not None
        if rule != "none":
            model = RULES[rule].model
            assert model is not None
            options = {key: value for key, value in terminate.options.items() if key in model.model_fields}
            terminate = EarlyTerminate(type=rule, options=options)
        config = replace(task.config, method=method, early_terminate=terminate if rule != "none" else None)
        self._strategy, self._rule = make_strategy(config, seed), make_rule(config)
        self._metric, self._history = task.config.metric.name, History()

    def ask(self, number: int) -> Params:
        (params,) = self._strategy.suggest(self._history, 1)
        self._history.update([Trial(number=number, params=params, state=TrialState.RUNNING)])
        return params

    def stops(self, number: int, curve: list[float]) -> bool:
        self._set(number, curve, TrialState.RUNNING)
        decisions = self._rule.judge(self._history) if self._rule else []
        return any(decision.number == number for decision in decisions)

    def tell(self, number: int, curve: list[float], *, is_whole: bool) -> None:
        self._set(number, curve, TrialState.FINISHED if is_whole else TrialState.STOPPED)

    def _set(self, number: int, curve: list[float], state: TrialState) -> None:
        trial, stats = self._history.get(number), MetricStats()
        assert trial is not None
        for value in curve:
            stats = stats.add(value)
        self._history.update([replace(trial, state=state, metrics={self._metric: stats}, curve=tuple(curve))])


class Peer:
    def __init__(self, task: CurveTask, name: str, seed: int, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._questions, self._answers = process.stdin, process.stdout
        self._send(sweep={**task.config.document, "method": PEERS[name][2]}, seed=seed)

    def ask(self, number: int) -> Params:
        self._send(number=number)
        params: Params = json.loads(self._answers.readline())
        return params

    def stops(self, number: int, curve: list[float]) -> bool:
        self._send(number=number, reported=curve[-1])
        return bool(json.loads(self._answers.readline()))

    def tell(self, number: int, curve: list[float], *, is_whole: bool) -> None:
        self._send(number=number, value=curve[-1])

    def _send(self, **what: Any) -> None:
        print(json.dumps(what), file=self._questions, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engines", default=",".join((*OURS, *PEERS)))
    parser.add_argument("--tasks", default=",".join(NAMES))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("curve_quality.jsonl"))
    options = parser.parse_args()
    engines, tasks = options.engines.split(","), {name: load(name) for name in options.tasks.split(",")}
    lines = options.out.read_text().splitlines() if options.out.exists() else []
    results = {tuple(row["key"]): row for row in map(json.loads, lines)}
    with options.out.open("a") as out:
        for seed in range(options.seeds):
            for key in ((engine, name, seed) for name in tasks for engine in engines):
                if key not in results:
                    results[key] = {"key": key, **measured(tasks[key[1]], key[0], seed)}
                    print(json.dumps(results[key]), file=out, flush=True)
    report(results, engines, list(tasks))


def measured(task: CurveTask, engine: str, seed: int) -> dict[str, Any]:
    if engine not in PEERS:
        return simulate(task, Ours(task, engine, seed), seed)
    environment, script, _ = PEERS[engine]
    command = [str(oracle(environment).python), str(Path(__file__).parent / "search_peers" / script)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        return simulate(task, Peer(task, engine, seed, process), seed)


def simulate(task: CurveTask, engine: Engine, seed: int) -> dict[str, Any]:
    """Return the lowest regret of a trial that ended in time, and the counts of ended and stopped trials."""
    running: list[tuple[float, int, int, Params]] = []  # first the time when the next epoch ends
    now, started, spent, best, n_ended, n_stopped = 0.0, 0, 0, float("inf"), 0, 0
    curves: dict[int, list[float]] = {}
    while True:
        while len(running) < WORKERS and started < MOST:
            params = engine.ask(started)
            curves[started] = task.observed(params, seed)
            heapq.heappush(running, (now + task.epoch_seconds(params), started, 1, params))
            started += 1
        if not running:
            break
        now, number, epoch, params = heapq.heappop(running)
        curve = curves[number][:epoch]
        is_whole = epoch == task.length
        is_stopped = engine.stops(number, curve) and not is_whole
        if not is_whole and not is_stopped:
            heapq.heappush(running, (now + task.epoch_seconds(params), number, epoch + 1, params))
            continue
        engine.tell(number, curve, is_whole=is_whole)
        spent += epoch
        if spent > WHOLE * task.length:
            break
        n_ended, n_stopped = n_ended + 1, n_stopped + is_stopped
        best = min(best, task.regret(task.true_curve(params)[epoch - 1]))
    return {"regret": round(best, 6), "trials": n_ended, "stopped": n_stopped}


def report(results: dict[tuple[Any, ...], dict[str, Any]], engines: list[str], tasks: list[str]) -> None:
    print(f"| engine | seeds | {' | '.join(tasks)} | mean | trials |\n|---|---|" + "---|" * (len(tasks) + 2))
    means = {}
    for engine in engines:
        by_task = [[row for key, row in results.items() if key[:2] == (engine, name)] for name in tasks]
        regrets = [[row["regret"] for row in rows] for rows in by_task]
        cells = [f"{statistics.mean(values):.3f} ± {error(values):.3f}" for values in regrets]
        mean = statistics.mean(statistics.mean(values) for values in regrets)
        trials = statistics.mean(row["trials"] for rows in by_task for row in rows)
        means[engine] = mean
        print(f"| {engine} | {min(map(len, regrets))} | {' | '.join(cells)} | {mean:.3f} | {trials:.0f} |")
    for ours in means.keys() & set(OURS):
        for peer in means.keys() & set(PEERS):
            leave(f"regret with early stops, {ours}", peer, means[ours], means[peer])


def error(values: list[float]) -> float:
    """Return the standard error of their mean."""
    return statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0


if __name__ == "__main__":
    main()
