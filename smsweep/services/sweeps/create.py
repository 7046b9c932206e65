"""Create a sweep: snapshot its source, check its prior runs, and write it to the store."""

from __future__ import annotations

import itertools
import logging
import operator
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
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
from smsweep.services.labels import full_label, new_sweep_id, parse_label
from smsweep.services.places import source_backend
from smsweep.services.sweeps.load import (
    EstimatorJob,
    JobLike,
    SweepLike,
    TunerLike,
    TunerSweep,
    compile_estimator,
    is_tuning_job,
    needs_program,
    origin_of,
    read,
    with_command,
    with_options,
)
from smsweep.services.sweeps.search_program import codes_of, read_code, source_dir, with_code
from smsweep.services.sweeps.snapshot import CheckedSource, check_source, origin, snapshot
from smsweep.services.workspace import Workspace
from smsweep.space.distribution import MISSING, can_have
from smsweep.store import notes
from smsweep.store.base import Store
from smsweep.wandb_compat.runs_table import read_runs_csv

log = logging.getLogger(__name__)

MAX_SEED = 2**63 - 1  # largest integer of the databases


def sweep(
    sweep: SweepLike | None = None,
    entity: str | None = None,
    project: str | None = None,
    prior_runs: Iterable[str | Path] | str | Path | None = None,
    *,
    name: str | None = None,
    program: str | None = None,
    job: JobLike = None,
    estimator: Any = None,
    inputs: Any = None,
    tuner: TunerLike | TunerSweep | None = None,
    seed: int | None = None,
    reuse: bool = False,
    in_place: bool | None = None,
    gpus_per_trial: float | None = None,
    backend: str | None = None,
    on: Sequence[str] = (),
) -> str:
    """Create a sweep and return its id.

    If a check fails, nothing is created.

    Args:
        sweep: A W&B sweep config as a mapping, the path of a YAML file, or a function that returns a mapping. None
            if there is a `tuner`.
        entity: W&B entity. Default: `WANDB_ENTITY`, then the config's.
        project: W&B project. Default: `WANDB_PROJECT`, then the config's.
        prior_runs: Trials ("ID/N" or a run id), sweeps (an id or a name), CSV files of runs such as W&B exports,
            or tuning jobs of SageMaker ("tuning-job/NAME"). Their results inform the search.
        name: Name of the sweep. Default: the config's.
        program: Script that runs instead of the config's `program`.
        job: Path or content of a job.yaml, which describes the jobs.
        estimator: An Estimator or a ModelTrainer of the SageMaker SDK, instead of `job`. Its script runs if the
            config names no program. Its hyperparameters are passed to every trial.
        inputs: Inputs of the estimator or the tuner, as its `fit`, `train` or `tune` accepts them.
        tuner: A hyperparameter tuning job of SageMaker, instead of `sweep`, `job` and `estimator`: a
            HyperparameterTuner of the SDK (v2 or v3), a CreateHyperParameterTuningJob request as a mapping or a
            JSON file, or the name of an existing tuning job. The sweep uses its seed and its parents, too.
        seed: Random seed for the search. Default: that of the tuner, or random.
        reuse: Agents copy the results of identical trials of earlier sweeps instead of running them again.
        in_place: Run processes in the source folder itself instead of a copy. Default: `in_place` of job.yaml.
        gpus_per_trial: GPUs of each trial on this machine, as for `agent`. Default: `resources_per_trial` of
            job.yaml.
        backend: Backend that will run the trials. For "process", a secret in the source is only a warning.
            Default: `SMSWEEP_BACKEND`, then the estimator's, then "process".
        on: Places that will run the trials, instead of `backend`. Default: all places in job.yaml.

    Returns:
        Id of the sweep.

    Raises:
        ConfigError: If a config is invalid. Lists all problems.
        SourceError: If the source cannot be packed, for example because it contains a secret.
        UsageError: If an argument is invalid.
        NotFound: If a prior run or a tuning job does not exist.
        JobError: If AWS refuses a request about a tuning job.
    """
    priors = [str(prior) for prior in ([prior_runs] if isinstance(prior_runs, str | Path) else prior_runs or ())]
    workspace = Workspace()
    made = None
    if tuner is not None:
        _refuse_both(sweep=sweep, job=job, estimator=estimator)
        made = tuner if isinstance(tuner, TunerSweep) else _read_tuner(tuner, inputs, workspace)
        sweep, estimator, inputs = made.sweep, made.job, None
        seed = made.seed if seed is None else seed
        priors = [*dict.fromkeys((*made.prior_runs, *priors))]
    if sweep is None:
        raise UsageError("sweep: missing; give a sweep config, or a tuner")
    compiled = compile_estimator(estimator, inputs, job)
    parsed, parsed_job = read(sweep, job, program=program, compiled=compiled)
    parsed_job = with_options(parsed_job, in_place=in_place, gpus_per_trial=gpus_per_trial)
    if compiled and not on:
        backend = compiled.chosen_backend(backend, workspace.environ)
    backend = source_backend(parsed_job.template, workspace, on=on, backend=backend)
    place = origin_of(sweep)
    with _downloaded(made, program, workspace) as downloaded:
        packed_job = parsed_job
        if downloaded:  # the stored job.yaml does not name the temporary folder
            template = replace(parsed_job.template, source_dir=str(downloaded))
            packed_job = replace(parsed_job, template=template)
        return keep(
            workspace,
            parsed,
            parsed_job,
            source=lambda: snapshot(workspace, parsed, packed_job, place, backend=backend),
            folder=lambda: None if downloaded else source_dir(parsed.config, parsed_job, place),
            origin=lambda: {} if downloaded else origin(place or Path.cwd()),
            priors=priors,
            entity=entity,
            project=project,
            name=name,
            seed=seed,
            reuse=reuse,
            code=read_code(parsed.config, parsed_job, place),
        )


def _refuse_both(**others: Any) -> None:
    """Raise UsageError for an argument that cannot be combined with a tuner."""
    for name, value in others.items():
        if value is not None:
            raise UsageError(f"tuner and {name} cannot be combined, because the tuner has its own; remove one")


def _read_tuner(tuner: TunerLike, inputs: Any, workspace: Workspace) -> TunerSweep:
    from smsweep.services.sweeps.tuning_jobs import read_tuner  # boto3 is slow to import

    return read_tuner(tuner, inputs, workspace.environ)


def _downloaded(
    made: TunerSweep | None, program: str | None, workspace: Workspace
) -> AbstractContextManager[Path | None]:
    """Download the source of a tuning job, unless the user names a program on this machine."""
    if made is None or program:
        return nullcontext()
    from smsweep.services.sweeps.tuning_jobs import source_folder  # boto3 is slow to import

    return source_folder(made, workspace.environ)


def checked_seed(seed: SupportsIndex) -> int:
    """Return a seed of any integer type as an int. Raises UsageError for an invalid seed."""
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
    folder: Callable[[], Path | None] = lambda: None,
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
    """Write a new sweep to the store.

    Args:
        workspace: The workspace.
        parsed: The sweep config.
        parsed_job: The job.yaml.
        source: Makes the source snapshot and returns its hash.
        folder: Returns the folder that the snapshot was made of; None without a folder.
        origin: Returns the note about the commit and the Python of the source.
        priors: Trials, sweeps, CSV files and tuning jobs whose results inform the search.
        entity: W&B entity; None for the default.
        project: W&B project; None for the default.
        name: Name of the sweep; None for the config's.
        seed: Random seed for the search; None for a random one.
        reuse: Agents copy the results of identical trials of earlier sweeps.
        sweep_id: Id of the sweep; None for a new id.
        code: Text of the program in `scheduler.source`; "" without one.

    Returns:
        Id of the sweep.

    Raises:
        ConfigError: If the user has not consented to running the code.
        StoreConflict: If the id is already used.
    """
    priors = [full_label(prior) if _is_stored(prior) else prior for prior in priors]
    runs = _check(workspace, parsed.config, parsed_job, priors, code)
    config, environ = parsed.config, workspace.environ
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
        prior_runs=tuple(prior for prior in priors if _is_stored(prior)),
        created_at=datetime.now(timezone.utc),
    )
    with workspace.store(create=True) as store:
        warn_of_other_spaces(stored_prior(store, value), config)
        created = store.create_sweep(value)
        notes.ORIGIN.put(store, created.id, origin())
        if created.source_hash and (original := folder()):
            notes.SOURCE_FOLDER.put(store, created.id, str(original.resolve()))
        if runs:
            notes.PRIOR_READ_RUNS.put(store, created.id, runs)
        if code:
            notes.SEARCH_CODE.put(store, created.id, code)
        if reuse:
            notes.IS_REUSE.put(store, created.id, True)
        return created.id


def check(
    sweep: SweepLike,
    *,
    prior_runs: Iterable[str | Path] = (),
    program: str | None = None,
    job: JobLike = None,
    seed: int | None = None,
    backend: str | None = None,
    on: Sequence[str] = (),
) -> CheckedSource:
    """Check everything that `sweep` checks. Create nothing. For the arguments and exceptions, see `sweep`."""
    parsed, parsed_job = read(sweep, job, program=program, is_quiet=True)
    if seed is not None:
        checked_seed(seed)
    code = read_code(parsed.config, parsed_job, origin_of(sweep))
    workspace = Workspace()
    return check_parsed(
        workspace,
        parsed,
        parsed_job,
        priors=map(str, prior_runs),
        code=code,
        origin=origin_of(sweep),
        backend=source_backend(parsed_job.template, workspace, on=on, backend=backend),
    )


def check_parsed(
    workspace: Workspace,
    parsed: ParsedSweep,
    parsed_job: ParsedJob,
    *,
    priors: Iterable[str],
    code: str,
    origin: Path | None,
    backend: str | None = None,
) -> CheckedSource:
    """Check what `keep` checks, and the source. Create nothing. For the arguments and exceptions, see `keep`."""
    priors = list(priors)
    _check(workspace, parsed.config, parsed_job, priors, code)
    checked = check_source(workspace, parsed, parsed_job, origin, backend=backend)
    labels = tuple(prior for prior in priors if _is_stored(prior))
    if labels:
        with workspace.store() as store:
            value = Sweep(id="", config=parsed.config, prior_runs=labels)
            warn_of_other_spaces(stored_prior(store, value), parsed.config)
    return checked


def _check(
    workspace: Workspace, config: SweepConfig, parsed_job: ParsedJob, priors: Iterable[str], code: str
) -> list[dict[str, Any]]:
    """Check the consent to code, the search program and the prior runs. Return the runs outside the store."""
    refuse_code(codes_of(config, code, parsed_job.template), workspace.environ)
    if code:
        make_strategy(with_code(config, code), 0)
    return _read_runs(priors, config, workspace.environ)


def with_source(stored: Sweep, compiled: EstimatorJob, workspace: Workspace) -> Sweep:
    """Return a sweep without a program with the estimator's script and its snapshot; any other sweep unchanged.

    The stored sweep does not change. Raises SourceError.
    """
    if not compiled.program or not needs_program(stored.config):
        return stored
    parsed = with_command(parse_sweep({**stored.config.document, "program": compiled.program}), compiled)
    source_hash = snapshot(workspace, parsed, parse_job(compiled.document), None)
    return replace(stored, config=parsed.config, source_hash=source_hash)


def _is_file(prior: str) -> bool:
    """Return True if a prior run is a CSV file, not the label of a trial or a sweep."""
    return prior.lower().endswith(".csv")


def _is_stored(prior: str) -> bool:
    """Return True if a prior run is a trial or a sweep in the store."""
    return not (_is_file(prior) or is_tuning_job(prior))


def _read_runs(priors: Iterable[str], config: SweepConfig, environ: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the runs in CSV files and tuning jobs, for the note PRIOR_READ_RUNS. Warn of unusable rows."""
    runs: list[dict[str, Any]] = []
    for prior in priors:
        if _is_stored(prior):
            continue
        if is_tuning_job(prior):
            from smsweep.services.sweeps.tuning_jobs import read_prior_runs  # boto3 is slow to import

            read = read_prior_runs(prior, config, environ)
        else:
            read = read_runs_csv(Path(prior), config.space, config.all_metrics)
        for warning in read.warnings:
            log.warning("%s", warning)
        runs += ({**run, "source": prior} for run in read.runs)
    return runs


def read_prior(store: Store, sweep: Sweep) -> list[Trial]:
    """Return the prior trials of a sweep and its prior runs from CSV files and tuning jobs, numbered from 0."""
    runs = notes.PRIOR_READ_RUNS.get(store, sweep.id)
    prior = itertools.chain(stored_prior(store, sweep), map(_as_trial, runs))
    return [replace(trial, number=number) for number, trial in enumerate(prior)]


def stored_prior(store: Store, sweep: Sweep) -> Iterator[Trial]:
    """Yield the trials that are prior runs of a sweep. Raises NotFound."""
    metric = sweep.config.metric
    for label in sweep.prior_runs:
        sweep_id, number = parse_label(label)
        if number is not None:
            store.get_trial(sweep_id, number)
        for trial in store.list_trials(sweep_id, curve_of=metric.name if metric else None):
            if number is None or trial.number == number:
                yield trial


def warn_of_other_spaces(trials: Iterable[Trial], config: SweepConfig) -> None:
    """Warn once for each reason why prior trials do not fit the search space exactly."""
    reasons = Counter[str]()
    n_trials = 0
    for trial in trials:
        n_trials += 1
        reasons.update(_misfits(trial, config))
    for reason, n in sorted(reasons.items()):
        log.warning(
            "prior runs: %s: %d of %d trials; the search uses the nearest values in the space", reason, n, n_trials
        )


def _misfits(trial: Trial, config: SweepConfig) -> Iterator[str]:
    values, missing = config.space.flatten(trial.params), config.space.missing(trial.params)
    for (path, leaf), value in zip(config.space.leaves, values, strict=True):
        name = ".".join(path)
        if leaf.size == 1:
            continue  # a constant, which is not searched
        if value is MISSING:
            if path in missing:  # the others do not exist
                yield f"without {name}"
        elif not can_have(leaf, value):
            yield f"{name} outside the space"


def _as_trial(run: Mapping[str, Any]) -> Trial:
    stats = {name: MetricStats().add(value) for name, value in run["values"].items() if value is not None}
    return Trial(number=0, params=run["params"], state=TrialState(run["state"]), metrics=stats)
