"""Create a sweep: read its config, snapshot its source, store both."""

from __future__ import annotations

import logging
import operator
import os
import random
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import Any, SupportsIndex

from smsweep.budget import budgets_of
from smsweep.config.job_yaml import ParsedJob, parse_job, read_job
from smsweep.config.sweep_yaml import ParsedSweep, parse_sweep, read_sweep
from smsweep.errors import ConfigError, SourceError, UsageError
from smsweep.jobs import JobTemplate
from smsweep.runtime.secrets import SECRETS_ENV
from smsweep.sdk.consent import digest_of, refuse_code
from smsweep.sdk.estimators import EstimatorJob, compile_estimator
from smsweep.sdk.hidden import known_secrets
from smsweep.sdk.left_behind import left_behind
from smsweep.sdk.origin import ORIGIN_NOTE, origin
from smsweep.sdk.placing import placed, source_dir
from smsweep.sdk.prior import CSV_NOTE, is_file, read_files, stored_prior, warn_of_other_spaces
from smsweep.sdk.reuse import REUSE_NOTE
from smsweep.sdk.search_code import CODE_NOTE, codes_of, has_program, read_code, with_code
from smsweep.sdk.workspace import Workspace
from smsweep.search.methods import engine_of, make_strategy
from smsweep.source.collect import SourceFile, collect
from smsweep.source.pack import hash_files, pack
from smsweep.source.secrets import Finding, refuse_secrets, scan_text
from smsweep.sweeps import Sweep, SweepConfig

log = logging.getLogger(__name__)

ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
ID_LENGTH = 8  # as W&B's
MAX_SEED = 2**63 - 1  # what a store keeps
SHELL = ("bash", "${program}", "${args}")  # for a script of the shell, which the SDK starts without Python, too

SweepLike = Mapping[str, Any] | str | Path | Callable[[], Mapping[str, Any]]
JobLike = Mapping[str, Any] | str | Path | None


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


def read(
    sweep: SweepLike, job: JobLike, *, program: str | None = None, compiled: EstimatorJob | None = None
) -> tuple[ParsedSweep, ParsedJob]:
    """Read both configs of a sweep that is to be created here. Raises ConfigError, SourceError."""
    parsed = load_sweep(sweep)
    if compiled and needs_program(parsed.config):
        program = program or compiled.program
    if program:
        parsed = parse_sweep({**parsed.config.document, "program": program})
    if compiled:
        parsed = with_command(parsed, compiled)
    parsed_job = load_job(job)
    parsed = placed(parsed, parsed_job, origin_of(sweep))
    warn(parsed.warnings, parsed_job.warnings)
    check_can_run(parsed.config, parsed_job.template)
    return parsed, parsed_job


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
        store.put_note(created.id, ORIGIN_NOTE, origin())
        if runs:
            store.put_note(created.id, CSV_NOTE, runs)
        if code:
            store.put_note(created.id, CODE_NOTE, code)
        if reuse:
            store.put_note(created.id, REUSE_NOTE, True)
        return created.id


def new_sweep_id() -> str:
    return "".join(secrets.choice(ID_LETTERS) for _ in range(ID_LENGTH))


def with_source(stored: Sweep, compiled: EstimatorJob, workspace: Workspace) -> Sweep:
    """Return a sweep that names no program with the estimator's script and a snapshot of it; any other as it is.

    What is stored stays. Raises SourceError.
    """
    if not compiled.program or not needs_program(stored.config):
        return stored
    parsed = with_command(parse_sweep({**stored.config.document, "program": compiled.program}), compiled)
    source_hash = snapshot(workspace, parsed, parse_job(compiled.document), None)
    return replace(stored, config=parsed.config, source_hash=source_hash)


def with_command(parsed: ParsedSweep, compiled: EstimatorJob) -> ParsedSweep:
    """Return a sweep without a command of its own with the estimator's launcher; any other as it is."""
    is_shells = compiled.program.endswith(".sh") and parsed.config.program == compiled.program
    command = compiled.command or (SHELL if is_shells else ())
    if not command or "command" in parsed.config.document:
        return parsed
    return parse_sweep({**parsed.config.document, "command": list(command)})


def needs_program(config: SweepConfig) -> bool:
    return config.program is None and "${program}" in config.command


def load_sweep(sweep: SweepLike) -> ParsedSweep:
    if callable(sweep):
        sweep = sweep()
    if isinstance(sweep, Mapping):
        return parse_sweep(sweep)
    if not isinstance(sweep, (str, os.PathLike)):
        raise UsageError(f"a sweep is a dict, a path, or a function that returns one, got {sweep!r}")
    return read_sweep(Path(sweep))


def load_job(job: JobLike) -> ParsedJob:
    if isinstance(job, Mapping):
        return parse_job(job)
    return read_job(Path(job)) if job else ParsedJob(template=JobTemplate(), warnings=(), text="")


def warn(*warnings: Iterable[str]) -> None:
    for group in warnings:
        for warning in group:
            log.warning("%s", warning)


def check_can_run(config: SweepConfig, template: JobTemplate) -> None:
    """Raise ConfigError for valid configs of which not one trial could run, before anything starts."""
    is_optuna = engine_of(config) == "optuna" and not has_program(config)  # a program needs consent first
    if is_optuna and find_spec("optuna") is None:
        raise ConfigError("scheduler.engine: optuna is not installed; pip install 'smsweep[optuna]'")
    caps = {what: cap for what, cap in template.budget.items() if what != "usd" or not template.asks_price}
    budgets_of(replace(template, budget=caps))


def hash_source(parsed: ParsedSweep, job: ParsedJob, sweep: SweepLike) -> str:
    """Return the hash that the source's snapshot will have, writing nothing; "" when there is none."""
    workspace = Workspace()
    known = known_secrets(workspace.environ, job.template)
    found = secrets_in_configs(parsed, job, known)
    files = _source_files(workspace, source_dir(parsed.config, job, origin_of(sweep)), job)
    if files:
        return hash_files(files, found=found, known=known)
    refuse_secrets(found)
    return ""


def snapshot(workspace: Workspace, parsed: ParsedSweep, job: ParsedJob, origin: Path | None) -> str:
    """Pack the source and return its hash; "" when there is none. Raises SourceError for a secret in it."""
    known = known_secrets(workspace.environ, job.template)
    found = secrets_in_configs(parsed, job, known)
    folder = source_dir(parsed.config, job, origin)
    files = _source_files(workspace, folder, job)
    if folder and files:
        warn(left_behind(parsed.config, folder, files))
        with workspace.made():
            return pack(files, workspace.bundles_dir, found=found, known=known).hash
    refuse_secrets(found)
    return ""


def secrets_in_configs(parsed: ParsedSweep, job: ParsedJob, known: Sequence[str]) -> list[Finding]:
    """Return what must not be in a sweep's two files. known: see hidden.known_secrets."""
    return [*scan_text("sweep config", parsed.text, known), *scan_text("job config", job.text, known)]


def _source_files(workspace: Workspace, folder: Path | None, job: ParsedJob) -> list[SourceFile]:
    files = collect(folder, leave_out=(workspace.dir,)) if folder is not None else []
    return [*files, *_secrets_env(folder, job)]


def _secrets_env(folder: Path | None, job: ParsedJob) -> list[SourceFile]:
    """Return the file that `wandb.sagemaker_auth` writes, where job.yaml asks for it; no scan looks into it."""
    if folder is None or not job.template.carries_secrets_env:
        return []
    path = folder / SECRETS_ENV
    if not path.is_file():
        raise SourceError(f"{path}: no such file; wandb.sagemaker_auth(path=...) writes it, or drop secrets_env")
    log.warning("%s travels with the source: whoever may read the source may read its keys", path)
    size = path.stat().st_size
    return [SourceFile(name=SECRETS_ENV, path=path, size=size, is_executable=False, may_hold_secrets=True)]


def origin_of(sweep: SweepLike) -> Path | None:
    """Return the folder of the sweep's file; None for a config given in Python."""
    return Path(sweep).absolute().parent if isinstance(sweep, (str, Path)) else None
