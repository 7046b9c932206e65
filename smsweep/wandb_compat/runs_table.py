"""Convert a sweep's trials to the table of runs that W&B exports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from smsweep.core.sweep import Sweep
from smsweep.core.trial import Params, Scalar, Trial, TrialState
from smsweep.exports.contents import WANDB_COLUMNS
from smsweep.runtime.script.records import IDLE, PARAMS, RUN, STOPPED, URL

Row = dict[str, Any]

STATES = {  # states with another name in W&B
    TrialState.STOPPED: "killed",  # W&B's own state of a run that early termination stopped
    TrialState.STOPPING: "running",
}


def runs_table(trials: Iterable[Trial], sweep: Sweep) -> list[Row]:
    """Return a sweep's trials as rows of the table that W&B exports."""
    return [wandb_row(trial, name=run_name(trial, sweep), summary=metrics_of(trial)) for trial in trials]


def wandb_row(trial: Trial, *, name: str, summary: Mapping[str, Scalar]) -> Row:
    """Return one row: W&B's own columns, then params, then metrics. Nested names are joined with dots.

    Runtime is in seconds. If names are equal, W&B's columns and then metrics keep theirs: the param becomes
    `config.NAME`, the metric `summary.NAME`.
    """
    seconds = _seconds(trial.started_at, trial.ended_at)
    state = STATES.get(trial.state, trial.state.value)
    created = trial.created_at.isoformat() if trial.created_at else None
    row = dict(zip(WANDB_COLUMNS, (name, state, created, seconds, trial.sweep_id, run_id(trial)), strict=True))
    params = {
        f"config.{key}" if key in row or key in summary else key: value
        for key, value in _flat(params_of(trial)).items()
    }
    return {**row, **params, **{f"summary.{key}" if key in row else key: value for key, value in summary.items()}}


def _seconds(started_at: datetime | None, ended_at: datetime | None) -> float | None:
    return (ended_at - started_at).total_seconds() if started_at and ended_at else None


def _flat(values: Mapping[str, Any], prefix: str = "") -> Row:
    flat: Row = {}
    for name, value in values.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def params_of(trial: Trial) -> Params:
    """Return a trial's params: those that W&B's server chose, otherwise smsweep's own."""
    found = {name: value for name, value in trial.summary.items() if name.startswith(PARAMS)}
    return {name.removeprefix(PARAMS): value for name, value in found.items()} if found else trial.params


def run_id(trial: Trial) -> str:
    """Return the id of a trial's run in W&B's table."""
    return f"{trial.sweep_id}-{trial.number}"


def run_name(trial: Trial, sweep: Sweep) -> str:
    """Return the name of a trial's run in W&B's table."""
    return f"{sweep.name or sweep.id}-{trial.number}"


def metrics_of(trial: Trial) -> dict[str, Scalar]:
    """Return the last value of each metric; values that the script set in its summary take precedence."""
    return {**{name: stats.last for name, stats in trial.metrics.items()}, **summary_of(trial)}


def summary_of(trial: Trial) -> dict[str, Scalar]:
    """Return the values that the script itself set in the trial's summary."""
    return {
        name: value
        for name, value in trial.summary.items()
        if name not in (IDLE, RUN, STOPPED, URL) and not name.startswith(PARAMS)
    }


def usage_of(trial: Trial) -> dict[str, Any]:
    """Return the resources that the trial's jobs used, and the URL of its W&B run."""
    url = trial.summary.get(URL)
    return {**trial.usage, **({"wandb_url": url} if url else {})}
