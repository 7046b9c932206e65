"""Create a sweep: read its config, snapshot its source, store both."""

from __future__ import annotations

import itertools
import logging
import operator
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, SupportsIndex

from smsweep.config_files.code_consent import digest_of, refuse_code
from smsweep.config_files.job_yaml import ParsedJob, parse_job
from smsweep.config_files.sweep_yaml import ParsedSweep, parse_sweep
from smsweep.core.sweep import Sweep, SweepConfig
from smsweep.core.trial import MetricStats, Trial, TrialState
from smsweep.errors import UsageError
from smsweep.search.registry import make_strategy
from smsweep.services.labels import new_sweep_id, parse_label
from smsweep.services.sweeps.load import (
    EstimatorJob,
    JobLike,
    SweepLike,
    compile_estimator,
    needs_program,
    origin_of,
    read,
    with_command,
)
from smsweep.services.sweeps.search_program import codes_of, read_code, with_code
from smsweep.services.sweeps.snapshot import origin, snapshot
from smsweep.services.workspace import Workspace
from smsweep.space.space import MISSING
from smsweep.store import notes
from smsweep.store.base import Store
from smsweep.wandb_compat.runs_table import may_be, read_runs_csv

log = logging.getLogger(__name__)

MAX_SEED = 2**63 - 1  # what a store keeps


def sweep(
    sweep: SweepLike,
    entity: str | None = None,
    project: str | None = None,
    prior_runs: Iterable[str | Path] | str | Path | None = None,
    *,
    name: str | None = None,
    program: str | None = None,
    job: JobLike = None,
    estimator: Any = None,
    inputs: Any = None,
    seed: int | None = None,
    reuse: bool = False,
) -> str:
    """Create a sweep and return its id.

    sweep: a W&B sweep config as a mapping, the path of a YAML file, or a function that returns a mapping.
    prior_runs: trials ("ID/N", or a run's id), whole sweeps ("ID"), or CSV files of runs, such as W&B exports:
    their results inform the search.
    program: runs instead of the config's.
    job: how its jobs run: a job.yaml's path or its content. estimator: the same as an Estimator or a ModelTrainer
    of the SageMaker SDK, with inputs as its `fit` or `train` takes them; its script runs where the config names no
    program, its hyperparameters are params of every trial. seed: of all chance in the search; drawn if None.
    reuse: its agents take results of earlier sweeps for trials that would only repeat them.
    Raises ConfigError with every problem at once, SourceError; nothing is created then.
    """
    compiled = compile_estimator(estimator, inputs, job)
    parsed, parsed_job = read(sweep, compiled.document if compiled else job, program=program, compiled=compiled)
    workspace = Workspace()
    return keep(
        workspace,
        parsed,
        parsed_job,
        source=lambda: snapshot(workspace, parsed, parsed_job, origin_of(sweep)),
        origin=lambda: origin(origin_of(sweep) or Path.cwd()),
        priors=[
            str(prior) for prior in ([prior_runs] if isinstance(prior_runs, str | Path) else prior_runs or ())
        ],
        entity=entity,
        project=project,
        name=name,
        seed=seed,
        reuse=reuse,
        code=read_code(parsed.config, parsed_job, origin_of(sweep)),
    )


def checked_seed(seed: SupportsIndex) -> int:
    """Return a seed as a plain int, of whatever kind of whole number it is. Raises UsageError for what is none."""
    try:
        number = operator.index(seed)
    except TypeError:
        number = -1
    if not 0 <= number <= MAX_SEED:
        raise UsageError(f"seed: expected a whole number from 0 to {MAX_SEED}, got {seed!r}")
    return number


def keep(
    workspace: Workspace,
    parsed: ParsedSweep,
    parsed_job: ParsedJob,
    *,
    source: Callable[[], str],
    origin: Callable[[], Mapping[str, Any]],
    priors: Iterable[str] = (),
    entity: str | None = None,
    project: str | None = None,
    name: str | None = None,
    seed: int | None = None,
    reuse: bool = False,
    sweep_id: str | None = None,
    code: str = "",
) -> str:
    """Store a new sweep and return its id. source: gives the hash of its source. origin: where that comes from.

    sweep_id: None for a new one. code: the text of its scheduler.source. Raises ConfigError for code without
    consent, StoreConflict where the id is taken.
    """
    config, environ = parsed.config, workspace.environ
    refuse_code(codes_of(config, code, parsed_job.template), environ)
    if code:
        make_strategy(with_code(config, code), 0)  # raises before there is a sweep
    priors = list(priors)
    runs = read_files(priors, config)
    value = Sweep(
        id=sweep_id or new_sweep_id(),
        config=config,
        job=parsed_job.template,
        seed=random.SystemRandom().getrandbits(32) if seed is None else checked_seed(seed),
        name=name or config.name or "",
        # W&B: argument > environment > YAML
        project=project or environ.get("WANDB_PROJECT") or config.project or "",
        entity=entity or environ.get("WANDB_ENTITY") or config.entity or "",
        sweep_yaml=parsed.text,
        job_yaml=parsed_job.text,
        source_hash=source(),
        code_hash=digest_of(code) if code else "",
        prior_runs=tuple(prior for prior in priors if not is_file(prior)),
        created_at=datetime.now(timezone.utc),
    )
    with workspace.store(create=True) as store:
        warn_of_other_spaces(stored_prior(store, value), config)
        created = store.create_sweep(value)
        notes.ORIGIN.put(store, created.id, origin())
        if runs:
            notes.PRIOR_CSV_RUNS.put(store, created.id, runs)
        if code:
            notes.SEARCH_CODE.put(store, created.id, code)
        if reuse:
            notes.IS_REUSE.put(store, created.id, True)
        return created.id


def with_source(stored: Sweep, compiled: EstimatorJob, workspace: Workspace) -> Sweep:
    """Return a sweep that names no program with the estimator's script and a snapshot of it; any other as it is.

    What is stored stays. Raises SourceError.
    """
    if not compiled.program or not needs_program(stored.config):
        return stored
    parsed = with_command(parse_sweep({**stored.config.document, "program": compiled.program}), compiled)
    source_hash = snapshot(workspace, parsed, parse_job(compiled.document), None)
    return replace(stored, config=parsed.config, source_hash=source_hash)


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
