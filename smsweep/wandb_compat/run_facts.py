"""What a trial's job tells of the W&B run beside it, in the trial's summary under names of our own."""

from __future__ import annotations

from typing import Any

from smsweep.core.sweep import Sweep
from smsweep.core.trial import Params, Scalar, Trial
from smsweep.runtime.script.run_identity import IDLE, PARAMS, RUN, STOPPED, URL


def params_of(trial: Trial) -> Params:
    """Return a trial's params: those that W&B gave it, as its job told, or else our own."""
    found = {name: value for name, value in trial.summary.items() if name.startswith(PARAMS)}
    return {name.removeprefix(PARAMS): value for name, value in found.items()} if found else trial.params


def run_id(trial: Trial) -> str:
    return f"{trial.sweep_id}-{trial.number}"


def run_name(trial: Trial, sweep: Sweep) -> str:
    return f"{sweep.name or sweep.id}-{trial.number}"


def metrics_of(trial: Trial) -> dict[str, Scalar]:
    """Return the last value of each metric, under what the script set as its own summary."""
    return {**{name: stats.last for name, stats in trial.metrics.items()}, **summary_of(trial)}


def summary_of(trial: Trial) -> dict[str, Scalar]:
    """Return what the script itself put into the trial's summary."""
    return {
        name: value
        for name, value in trial.summary.items()
        if name not in (IDLE, RUN, STOPPED, URL) and not name.startswith(PARAMS)
    }


def usage_of(trial: Trial) -> dict[str, Any]:
    """Return what the trial's jobs used and left, and where W&B shows the run."""
    url = trial.summary.get(URL)
    return {**trial.usage, **({"wandb_url": url} if url else {})}
