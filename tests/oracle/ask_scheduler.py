"""Run sweeps with W&B's scheduler for Optuna and with smsweep. Runs in an environment with both and with Optuna.

stdin: {"cases": [{"config", "code", "n", "workers", "restarts", "repeats"}]}; stdout: for each case the runs of
"wandb", which has no repeats, and of "smsweep": params, and the step at which the run was pruned. A run reports
five values of `loss`.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import warnings
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from wandb.sdk.sweeps.run_state import RunState  # type: ignore[import-not-found]
from wandb.sdk.sweeps.scheduler.optimizer import RunConfig, RunWithMetrics  # type: ignore[import-not-found]
from wandb.sdk.sweeps.scheduler.optuna import build_optuna_optimizer  # type: ignore[import-not-found]
from wandb.sdk.sweeps.sweep_info import SweepInfo  # type: ignore[import-not-found]

from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.core.job import JobTemplate
from smsweep.core.trial import History, MetricStats, Trial, TrialState
from smsweep.search.optuna_study import study_pruner
from smsweep.search.registry import make_strategy
from smsweep.services.sweeps.search_program import with_code

STEPS = 5
BEGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)


def losses(params: dict[str, Any]) -> list[float]:
    numbers = [float(value) for value in params.values() if isinstance(value, (int, float))]
    best = sum((number - 0.3) ** 2 for number in numbers) + 0.1 * len(params)
    return [best * (1 + 1 / (step + 1)) for step in range(STEPS)]


def by_wandb(case: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    source = folder / "space.py"
    source.write_text(case["code"])
    config = {**case["config"], "scheduler": {**case["config"]["scheduler"], "source": str(source)}}
    optimizer = build_optuna_optimizer(SweepInfo("s", "s", "e", "p", config, "s"))
    runs: list[dict[str, Any]] = []
    while len(runs) < case["n"]:
        if optimizer.has_terminator() and optimizer.should_terminate_sweep():
            break
        suggested = list(optimizer.ask_n_runs(min(case["workers"], case["n"] - len(runs))))
        if not suggested:
            break
        first = len(runs)
        runs += [{"params": each.config.flat_dict(), "pruned": None} for each in suggested]
        for step in range(STEPS):
            for number, each in enumerate(suggested, start=first):
                if runs[number]["pruned"] is None:
                    data = data_of(runs[number]["params"], step, RunState.RUNNING)
                    optimizer.tell_run(each.run_id, data)
                    if optimizer.prune_run(each.run_id, data):
                        runs[number]["pruned"] = step
        for number, each in enumerate(suggested, start=first):
            optimizer.tell_run(each.run_id, data_of(runs[number]["params"], STEPS - 1, RunState.FINISHED))
    return runs


def data_of(params: dict[str, Any], last: int, state: RunState) -> RunWithMetrics:
    rows = [{"_step": step, "loss": loss} for step, loss in enumerate(losses(params)[: last + 1])]
    return RunWithMetrics(RunConfig.from_values(params), state, "w", dict(rows[-1]), rows)


def by_smsweep(case: dict[str, Any]) -> list[dict[str, Any]]:
    scheduler = {**case["config"]["scheduler"], "source": "space.py"}
    config = with_code(parse_sweep({**case["config"], "scheduler": scheduler}).config, case["code"], "s")
    repeats = case["repeats"]
    job = JobTemplate(repeats=repeats)
    strategy, pruner = make_strategy(config, 0, job), study_pruner(config, 0, repeats)
    history, now = History(), BEGIN
    runs: list[dict[str, Any]] = []
    while len(runs) < case["n"]:
        if case["restarts"]:
            strategy, pruner = make_strategy(config, 0, job), study_pruner(config, 0, repeats)
        suggested = strategy.suggest(history, min(case["workers"], case["n"] - len(runs)))
        if not suggested:
            break
        first = len(runs)
        runs += [{"params": params, "pruned": None} for params in suggested]
        numbers = range(first, len(runs))
        history.update(
            Trial(number=number, params=runs[number]["params"], state=TrialState.RUNNING, created_at=now)
            for number in numbers
        )
        for step in range(STEPS):
            for number in numbers:
                trial = history.get(number)
                if trial is not None and trial.state is TrialState.RUNNING:
                    history.update([reported(trial, step)])
            now += timedelta(seconds=1)
            for decision in pruner.judge(history) if pruner else ():
                runs[decision.number]["pruned"] = step
                history.update([ended(history, decision.number, TrialState.STOPPED, now)])
        for number in numbers:
            if runs[number]["pruned"] is None:
                history.update([ended(history, number, TrialState.FINISHED, now)])
    return runs


def reported(trial: Trial, step: int) -> Trial:
    values = losses(dict(trial.params))[: step + 1]
    stats = MetricStats(last=values[-1], count=len(values), min=min(values), max=max(values))
    return replace(trial, curve=tuple(values), metrics={"loss": stats}, revision=trial.revision + 1)


def ended(history: History, number: int, state: TrialState, now: datetime) -> Trial:
    trial = history.get(number)
    assert trial is not None
    return replace(trial, state=state, ended_at=now, revision=trial.revision + 1)


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable()
    answers = []
    for case in json.load(sys.stdin)["cases"]:
        with tempfile.TemporaryDirectory() as folder:
            answers.append({"wandb": by_wandb(case, Path(folder)), "smsweep": by_smsweep(case)})
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
