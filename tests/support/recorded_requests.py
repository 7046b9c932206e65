"""Sweeps with thousands of trials that are written directly into the store."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from smsweep.core.sweep import Sweep
from smsweep.core.trial import History, MetricPoint, Trial, TrialState
from smsweep.search.registry import make_strategy
from smsweep.services.sweeps.create import sweep as create_sweep
from smsweep.services.workspace import Workspace
from smsweep.store.base import Store

CONFIG: Mapping[str, Any] = {
    "name": "recorded",
    "method": "random",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {
        "lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1.0},
        "batch": {"values": [16, 32, 64]},
        "optimizer": {"parameters": {"name": {"values": ["sgd", "adam"]}, "momentum": {"min": 0.0, "max": 1.0}}},
        "noise": {"min": 0.0, "max": 1.0},
    },
}
SEED = 7
ENDS = (TrialState.FINISHED,) * 8 + (TrialState.STOPPED, TrialState.FAILED)
REASONS = {
    TrialState.STOPPED: "hyperband: at band 4 its loss 0.9 is worse than 0.5, the threshold of 8 trials",
    TrialState.FAILED: "ValueError: loss is nan (exit code 1)",
}


def record(n_trials: int, *, n_points: int = 10, config: Mapping[str, Any] = CONFIG, job: Any = None) -> str:
    """Create a sweep with ended trials in the current SMSWEEP_DIR, and return its id."""
    sweep_id = create_sweep(config, job=job, seed=SEED)
    with Workspace().store() as store:
        sweep = store.get_sweep(sweep_id)
        params = make_strategy(sweep.config, SEED).suggest(History(), n_trials)
        store.add_trials(sweep_id, 0, params)
        for trial in sorted(store.list_trials(sweep_id), key=lambda trial: trial.number):
            _run(store, sweep, trial, n_points)
    return sweep_id


def _run(store: Store, sweep: Sweep, trial: Trial, n_points: int) -> None:
    rng = random.Random(trial.number)
    claimed = store.claim(sweep.id, "host:1:a", f"process@{'ab'[trial.number % 2]}", 60)
    assert claimed is not None
    start = datetime(2026, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=trial.number)
    end = loss_of(trial.params)
    points = [
        MetricPoint(
            name=name,
            value=value,
            step=step,
            time=start + timedelta(seconds=step),
        )
        for step in range(n_points)
        for name, value in (
            (
                sweep.config.metric.name if sweep.config.metric else "loss",
                end + 1 / (step + 1) + rng.gauss(0, 0.01),
            ),
            ("accuracy", 1 / (1 + end) - 0.1 / (step + 1)),
        )
    ]
    store.append_points(sweep.id, trial.number, points, "done", expect_cursor="")
    to = ENDS[trial.number % len(ENDS)]
    if to is TrialState.STOPPED:
        store.move(sweep.id, trial.number, [TrialState.RUNNING], TrialState.STOPPING, asked_by="rule")
    active = [TrialState.RUNNING, TrialState.STOPPING]
    usage = {"n_jobs": 1, "billable_s": 10.0, "instance_s": 10.0}
    store.move(sweep.id, trial.number, active, to, reason=REASONS.get(to, ""), usage=usage)


def loss_of(params: Mapping[str, Any]) -> float:
    """Return a loss that depends strongly on lr, slightly on momentum, and not on `noise`."""
    lr = float(params.get("lr", 0.01))
    momentum = float(params.get("optimizer", {}).get("momentum", 0.5))
    return (math.log10(lr) + 2) ** 2 + 0.3 * (momentum - 0.9) ** 2
