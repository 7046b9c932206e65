"""Quality of early stopping: regret after the epochs of 52 complete trainings (LCDB: 6), with 8 concurrent trials.

An engine is a search and a rule, for example `bayes+forecast`; `+none` stops no trial. Trials run on a
simulated clock and report after each epoch. Paused trials continue without losing an epoch. Random engines try
the same params in the same order. Regret is computed from the true value of the best ended trial,
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
from typing import Any, NamedTuple, Protocol

from benchmarks.curve_tasks import CurveTask, SampleSizes, load, names
from benchmarks.freeze_thaw import FreezeThaw
from benchmarks.ratios import leave
from smsweep.core.sweep import EarlyTerminate
from smsweep.core.trial import History, MetricStats, Params, Trial, TrialState
from smsweep.search.registry import make_strategy
from smsweep.stopping.base import AshaOptions, PromotingRule
from smsweep.stopping.registry import RULES, make_rule
from tools.environments import oracle

WORKERS = 8
MARKS = (0.125, 0.25, 0.5, 1.0)  # parts of the budget after which the regret is measured
NOTHING = 5.0  # regret without a result, and of worse results
MOST = 400  # maximum number of trials, if a rule stops nearly all of them immediately
OURS = (
    *("bayes+none", "bayes+forecast", "bayes+hyperband", "bayes+asha", "bayes+asha-promotion"),
    *("random+none", "random+forecast", "random+asha", "random+asha-promotion", "random+asha-freeze_thaw"),
)


class PeerSpec(NamedTuple):
    environment: str  # of tools/environments.py
    script: str
    method: str
    rule: str
    resumes: bool = False  # True: it pauses and resumes trials


PEERS = {
    "W&B random+hyperband": PeerSpec("sweeps", "wandb_hyperband.py", "random", "hyperband"),
    "W&B bayes+hyperband": PeerSpec("sweeps", "wandb_hyperband.py", "bayes", "hyperband"),
    "Optuna random+halving": PeerSpec("optuna", "optuna_pruners.py", "random", "halving"),
    "Optuna random+hyperband": PeerSpec("optuna", "optuna_pruners.py", "random", "hyperband"),
    "Optuna random+median": PeerSpec("optuna", "optuna_pruners.py", "random", "median"),
    "Optuna TPE+halving": PeerSpec("optuna", "optuna_pruners.py", "bayes", "halving"),
    "Optuna TPE+hyperband": PeerSpec("optuna", "optuna_pruners.py", "bayes", "hyperband"),
    "Optuna TPE+median": PeerSpec("optuna", "optuna_pruners.py", "bayes", "median"),
    "Syne Tune random+promotion": PeerSpec("syne-tune-0.13", "syne_promotion.py", "random", "promotion", True),
}
# LCDB's tasks have a single list of learners: a model of the params has no use there.
ON_LISTS = {engine for engine in (*OURS, *PEERS) if "random+" in engine and not engine.startswith("W&B")}


class Engine(Protocol):
    def resume(self) -> int | None: ...  # the number of a paused trial
    def ask(self, number: int, given: Params) -> Params: ...  # random search uses the given params
    def stops(self, number: int, curve: list[float]) -> bool: ...  # or pauses
    def tell(self, number: int, curve: list[float], *, is_whole: bool) -> None: ...


class Ours:
    def __init__(self, task: CurveTask, name: str, seed: int) -> None:
        method, _, rule = name.partition("+")
        config = replace(task.config, method=method, early_terminate=None)
        if rule != "none":
            config = replace(config, early_terminate=terminate_of(task, rule))
        assert config.metric is not None
        self._strategy, self._rule = make_strategy(config, seed), make_rule(config)
        if rule == "asha-freeze_thaw":
            assert config.early_terminate is not None
            options = AshaOptions(**config.early_terminate.options)
            self._rule = FreezeThaw(config.metric, config.space, options, task.length)
        self._is_random = method == "random"
        self._metric, self._history = config.metric.name, History()
        self._resumed_after: dict[int, int] = {}  # number of points

    def resume(self) -> int | None:
        if not (isinstance(self._rule, PromotingRule) and self._rule.promotes):
            return None
        number = next(iter(self._rule.promotable(self._history)), None)
        if number is not None:
            trial = self._history.get(number)
            assert trial is not None
            self._resumed_after[number] = len(trial.curve)
            self._history.update([replace(trial, state=TrialState.RUNNING, asked_by="")])
        return number

    def ask(self, number: int, given: Params) -> Params:
        params = given if self._is_random else self._strategy.suggest(self._history, 1)[0]
        self._history.update([Trial(number=number, params=params, state=TrialState.RUNNING)])
        return params

    def stops(self, number: int, curve: list[float]) -> bool:
        self._set(number, curve, TrialState.RUNNING)
        decisions = self._rule.judge(self._history) if self._rule else []
        decision = next((decision for decision in decisions if decision.number == number), None)
        if decision is None:
            return False
        return not decision.is_pause or decision.evidence["band"] > self._resumed_after.get(number, 0)

    def tell(self, number: int, curve: list[float], *, is_whole: bool) -> None:
        self._set(number, curve, TrialState.FINISHED if is_whole else TrialState.STOPPED)

    def _set(self, number: int, curve: list[float], state: TrialState) -> None:
        trial, stats = self._history.get(number), MetricStats()
        assert trial is not None
        for value in curve:
            stats = stats.add(value)
        metrics, asked_by = {self._metric: stats}, "pause" if state is TrialState.STOPPED else ""
        self._history.update([replace(trial, state=state, asked_by=asked_by, metrics=metrics, curve=tuple(curve))])


def terminate_of(task: CurveTask, rule: str) -> EarlyTerminate:
    """Return the rule of an engine, such as `asha-promotion`, with the task's numbers."""
    name, _, variant = rule.partition("-")
    model, given = RULES[name].model, task.config.early_terminate
    assert model is not None and given is not None
    options = {key: value for key, value in given.options.items() if key in model.model_fields}
    if name == "asha":
        options |= {"max_iter": task.length, "promote": bool(variant)}
    return EarlyTerminate(type=name, options=options)


class Peer:
    def __init__(self, task: CurveTask, name: str, seed: int, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._questions, self._answers = process.stdin, process.stdout
        method, self._resumes = PEERS[name].method, PEERS[name].resumes
        self._is_random = method == "random"
        sweep = {**task.config.document, "method": method, "rule": PEERS[name].rule, "length": task.length}
        if self._resumes and self._is_random:
            sweep["points"] = [task.draw(seed, number) for number in range(min(MOST, task.n_draws))]
        self._send(sweep=sweep, seed=seed)

    def resume(self) -> int | None:
        number: int | None = self._answer(resume=True) if self._resumes else None
        return number

    def ask(self, number: int, given: Params) -> Params:
        params: Params = self._answer(number=number, **({"params": given} if self._is_random else {}))
        return params

    def stops(self, number: int, curve: list[float]) -> bool:
        return bool(self._answer(number=number, reported=curve[-1]))

    def tell(self, number: int, curve: list[float], *, is_whole: bool) -> None:
        self._send(number=number, value=curve[-1])

    def _send(self, **what: Any) -> None:
        print(json.dumps(what), file=self._questions, flush=True)

    def _answer(self, **what: Any) -> Any:
        self._send(**what)
        return json.loads(self._answers.readline())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--engines",
        default=",".join(("random+asha", *(engine for engine in (*OURS, *PEERS) if engine != "random+asha"))),
    )
    parser.add_argument("--tasks", default="")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("curve_quality.jsonl"))
    options = parser.parse_args()
    wanted = options.tasks.split(",") if options.tasks else names()
    engines, tasks = options.engines.split(","), {name: load(name) for name in wanted}
    lines = options.out.read_text().splitlines() if options.out.exists() else []
    results = {tuple(row["key"]): row for row in map(json.loads, lines)}
    with options.out.open("a") as out:
        for seed in range(options.seeds):
            for key in ((engine, name, seed) for name in tasks for engine in engines):
                if key not in results and (key[0] in ON_LISTS or not isinstance(tasks[key[1]], SampleSizes)):
                    results[key] = {"key": key, **measured(tasks[key[1]], key[0], seed)}
                    print(json.dumps(results[key]), file=out, flush=True)
    report(results, engines, list(tasks))


def measured(task: CurveTask, engine: str, seed: int) -> dict[str, Any]:
    if engine not in PEERS:
        return simulate(task, Ours(task, engine, seed), seed)
    script = Path(__file__).parent / "search_peers" / PEERS[engine].script
    command = [str(oracle(PEERS[engine].environment).python), str(script)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        return simulate(task, Peer(task, engine, seed, process), seed)


def simulate(task: CurveTask, engine: Engine, seed: int) -> dict[str, Any]:
    """Return the lowest regret of a trial that ended or paused in time, at each mark, and counts of trials."""
    running: list[tuple[float, int, int, Params]] = []  # first the time when the next epoch ends
    now, started, spent, best, n_stopped, n_resumed = 0.0, 0, 0, float("inf"), 0, 0
    curves: dict[int, list[float]] = {}
    paused: dict[int, tuple[int, Params]] = {}  # epochs so far; stopped trials are never resumed
    before: dict[int, int] = {}  # epochs of the trial before it resumed
    marks = [part * task.whole * task.length for part in MARKS]
    regrets: list[float] = []
    while True:
        while len(running) < WORKERS:
            number = engine.resume()
            if number is not None:
                before[number], params = paused.pop(number)
                n_resumed += 1
            elif started < min(MOST, task.n_draws):
                number, before[started] = started, 0
                params = engine.ask(number, task.draw(seed, number))
                curves[number] = task.observed(params, seed)
                started += 1
            else:
                break
            heapq.heappush(running, (now + task.epoch_seconds(params), number, before[number] + 1, params))
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
        spent += epoch - before[number]
        while len(regrets) < len(marks) and spent > marks[len(regrets)]:
            regrets.append(best)
        if len(regrets) == len(marks):
            break
        if is_stopped:
            paused[number] = (epoch, params)
        n_stopped += is_stopped
        best = min(best, task.regret(task.true_curve(params)[epoch - 1]))
    regrets += [best] * (len(marks) - len(regrets))  # no trial is left
    regrets = [round(min(regret, NOTHING), 6) for regret in regrets]
    counts = {"trials": started, "stopped": n_stopped, "resumed": n_resumed}
    return {"regret": regrets[-1], "regrets": regrets, **counts}


def report(results: dict[tuple[Any, ...], dict[str, Any]], engines: list[str], tasks: list[str]) -> None:
    """Print the regret of each engine by task, over the budget, and the differences per seed to the first one."""
    groups: dict[str, list[str]] = {}
    for name in tasks:
        groups.setdefault(name.partition("-")[0], []).append(name)
    print(f"| engine | seeds | {' | '.join(groups)} | trials |\n|---|" + "---|" * (len(groups) + 2))
    means = {}
    for engine in engines:
        by_group = [
            {key[1:]: row["regret"] for key, row in results.items() if key[0] == engine and key[1] in members}
            for members in groups.values()
        ]
        if not all(by_group):
            continue
        cells = [f"{statistics.mean(v.values()):.3f} ± {error([*v.values()]):.3f}" for v in by_group]
        means[engine] = statistics.mean(statistics.mean(values.values()) for values in by_group)
        rows = [row for key, row in results.items() if key[0] == engine and key[1] in tasks]
        n_seeds = min(len({seed for _, seed in values}) for values in by_group)
        print(f"| {engine} | {n_seeds} | {' | '.join(cells)} | {statistics.mean(r['trials'] for r in rows):.0f} |")
    for title, members in groups.items():
        print(f"\n{title}: regret after parts of the budget, and its difference to {engines[0]} per task and seed")
        print(f"| engine | {' | '.join(map(str, MARKS))} | difference |\n|---|" + "---|" * (len(MARKS) + 1))
        first = {key[1:]: row["regret"] for key, row in results.items() if key[0] == engines[0]}
        for engine in engines:
            own = {key[1:]: row for key, row in results.items() if key[0] == engine and key[1] in members}
            pairs = [row["regret"] - first[key] for key, row in own.items() if key in first]
            if pairs:
                cells = [
                    f"{statistics.mean(row['regrets'][i] for row in own.values()):.3f}" for i in range(len(MARKS))
                ]
                print(f"| {engine} | {' | '.join(cells)} | {statistics.mean(pairs):+.3f} ± {error(pairs):.3f} |")
    for ours in means.keys() & set(OURS):
        for peer in means.keys() & set(PEERS):
            leave(f"regret with early stops, {ours}", peer, means[ours], means[peer])


def error(values: list[float]) -> float:
    """Return the standard error of their mean."""
    return statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0


if __name__ == "__main__":
    main()
