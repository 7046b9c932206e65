"""Data of a trial's W&B run, which the trial's job reports in the summary under smsweep's own names."""

from __future__ import annotations

from typing import Any

from smsweep.core.sweep import Sweep
from smsweep.core.trial import Params, Scalar, Trial
from smsweep.runtime.script.run_identity import IDLE, PARAMS, RUN, STOPPED, URL


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
