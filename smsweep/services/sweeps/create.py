"""Create a sweep: read its config, snapshot its source, store both."""

from __future__ import annotations

import logging
import operator
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, SupportsIndex

from smsweep.config_files.code_consent import digest_of, refuse_code
from smsweep.config_files.job_yaml import ParsedJob, parse_job
from smsweep.config_files.sweep_yaml import ParsedSweep, parse_sweep
from smsweep.core.sweep import Sweep
from smsweep.errors import UsageError
from smsweep.search.registry import make_strategy
from smsweep.services.labels import new_sweep_id
from smsweep.services.sweeps.estimators import EstimatorJob, compile_estimator
from smsweep.services.sweeps.load import JobLike, SweepLike, needs_program, origin_of, read, with_command
from smsweep.services.sweeps.prior_runs import is_file, read_files, stored_prior, warn_of_other_spaces
from smsweep.services.sweeps.search_program import codes_of, read_code, with_code
from smsweep.services.sweeps.snapshot import origin, snapshot
from smsweep.services.workspace import Workspace
from smsweep.store import notes

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
