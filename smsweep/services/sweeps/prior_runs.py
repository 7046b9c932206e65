"""What earlier sweeps, and runs of elsewhere, tell a new sweep's search."""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from smsweep.core.sweep import Sweep, SweepConfig
from smsweep.core.trial import MetricStats, Trial, TrialState
from smsweep.services.labels import parse_label
from smsweep.space.space import MISSING
from smsweep.store import notes
from smsweep.store.base import Store
from smsweep.wandb_compat.runs_csv import may_be, read_runs_csv

log = logging.getLogger(__name__)


def is_file(prior: str) -> bool:
    """Tell a CSV file from the label of a trial or a sweep."""
    return prior.lower().endswith(".csv")


def read_files(priors: Iterable[str], config: SweepConfig) -> list[dict[str, Any]]:
    """Return the runs of the CSV files among them, for PRIOR_CSV_RUNS; warn of what cannot be used."""
    runs: list[dict[str, Any]] = []
    for path in priors:
        if is_file(path):
            read = read_runs_csv(Path(path), config.space, config.all_metrics)
            for warning in read.warnings:
                log.warning("%s", warning)
            runs += read.runs
    return runs


def read_prior(store: Store, sweep: Sweep) -> list[Trial]:
    """Return the trials of earlier sweeps that inform the search, and the runs of files, numbered from 0."""
    runs = notes.PRIOR_CSV_RUNS.get(store, sweep.id)
    found = itertools.chain(stored_prior(store, sweep), map(_as_trial, runs))
    return [replace(trial, number=number) for number, trial in enumerate(found)]


def stored_prior(store: Store, sweep: Sweep) -> Iterator[Trial]:
    """Yield the trials that the sweep names as prior. Raises NotFound."""
    metric = sweep.config.metric
    for label in sweep.prior_runs:
        sweep_id, number = parse_label(label)
        if number is not None:
            store.get_trial(sweep_id, number)
        for trial in store.list_trials(sweep_id, curve_of=metric.name if metric else None):
            if number is None or trial.number == number:
                yield trial


def warn_of_other_spaces(trials: Iterable[Trial], config: SweepConfig) -> None:
    """Warn once for each reason why the search can only guess where an earlier trial lies in this space."""
    reasons = Counter[str]()
    n_trials = 0
    for trial in trials:
        n_trials += 1
        reasons.update(_strangeness(trial, config))
    for reason, n in sorted(reasons.items()):
        log.warning("prior runs: %s: %d of %d trials; the search takes the nearest it can", reason, n, n_trials)


def _strangeness(trial: Trial, config: SweepConfig) -> Iterator[str]:
    values = config.space.flatten(trial.params)
    for (path, leaf), value in zip(config.space.leaves, values, strict=True):
        name = ".".join(path)
        if leaf.size == 1:
            continue  # a constant is nothing to search
        if value is MISSING:
            yield f"without {name}"
        elif not may_be(leaf, value):
            yield f"{name} outside the space"


def _as_trial(run: Mapping[str, Any]) -> Trial:
    stats = {name: MetricStats().add(value) for name, value in run["values"].items() if value is not None}
    return Trial(number=0, params=run["params"], state=TrialState(run["state"]), metrics=stats)
