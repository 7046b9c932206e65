"""Run sweeps with W&B's scheduler for Ax and with smsweep. Runs in an environment with both and with Ax.

stdin: {"cases": [{"config", "n", "workers", "failing", "seed"}]}; stdout: for each case the params of the runs of
"wandb", and of "smsweep" with a new agent for each run. Runs whose number is in `failing` fail.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import warnings
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import ax.api.client
from wandb.sdk.sweeps.run_state import RunState  # type: ignore[import-not-found]
from wandb.sdk.sweeps.scheduler.ax import build_ax_optimizer  # type: ignore[import-not-found]
from wandb.sdk.sweeps.scheduler.optimizer import RunConfig, RunWithMetrics  # type: ignore[import-not-found]
from wandb.sdk.sweeps.sweep_info import SweepInfo  # type: ignore[import-not-found]

from smsweep import suggest


def metrics_of(params: Mapping[str, Any]) -> dict[str, float]:
    numbers = [float(value) for value in params.values() if isinstance(value, (int, float))]
    return {"val-loss": sum((number - 0.3) ** 2 for number in numbers), "acc": sum(numbers)}


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Give Ax's clients a seed, which W&B does not set."""
    client = ax.api.client.Client
    ax.api.client.Client = partial(client, random_seed=seed)
    try:
        yield
    finally:
        ax.api.client.Client = client


def by_wandb(case: dict[str, Any]) -> list[dict[str, Any]]:
    with seeded(case["seed"]):
        optimizer = build_ax_optimizer(SweepInfo("s", "s", "e", "p", case["config"], "s"))
    runs: list[dict[str, Any]] = []
    while len(runs) < case["n"]:
        asked = optimizer.ask_n_runs(min(case["workers"], case["n"] - len(runs)))
        if not asked:
            break
        for each in asked:
            params = each.config.flat_dict()
            state = RunState.FAILED if len(runs) in case["failing"] else RunState.FINISHED
            rows = [{"_step": 4, **metrics_of(params)}]
            optimizer.tell_run(
                each.run_id, RunWithMetrics(RunConfig.from_values(params), state, "w", dict(rows[-1]), rows)
            )
            runs.append(params)
    return runs


def by_smsweep(case: dict[str, Any]) -> list[dict[str, Any]]:
    trials: list[dict[str, Any]] = []
    while len(trials) < case["n"]:
        asked = suggest(case["config"], trials, min(case["workers"], case["n"] - len(trials)), case["seed"])
        if not asked:
            break
        for params in asked:
            state = "failed" if len(trials) in case["failing"] else "finished"
            stored = json.loads(json.dumps(params))  # as in the store
            values = [{f"{name}": value for name, value in metrics_of(params).items()}]
            trials.append({"number": len(trials), "params": stored, "state": state, "history": values})
    return [trial["params"] for trial in trials]


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable()
    answers = [{"wandb": by_wandb(case), "smsweep": by_smsweep(case)} for case in json.load(sys.stdin)["cases"]]
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
