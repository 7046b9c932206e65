"""Create a sweep: read its config, snapshot its source, store both."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from smsweep.config_files.from_python import to_yaml
from smsweep.config_files.job_yaml import ParsedJob, parse_job, read_job
from smsweep.config_files.sweep_yaml import ParsedSweep, parse_sweep, read_sweep
from smsweep.core.budget import budgets_of
from smsweep.core.job import JobTemplate
from smsweep.core.sweep import Sweep, SweepConfig
from smsweep.errors import ConfigError, UsageError
from smsweep.sagemaker_sdk.compiled import template
from smsweep.search.registry import engine_of
from smsweep.secrets.redact import environment_secrets
from smsweep.secrets.scan import refuse_secrets, scan_text
from smsweep.services.sweeps.search_program import has_program, placed
from smsweep.services.workspace import Workspace

log = logging.getLogger(__name__)

SHELL = ("bash", "${program}", "${args}")  # for a script of the shell, which the SDK starts without Python, too


SweepLike = Mapping[str, Any] | str | Path | Callable[[], Mapping[str, Any]]


JobLike = Mapping[str, Any] | str | Path | None


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


def origin_of(sweep: SweepLike) -> Path | None:
    """Return the folder of the sweep's file; None for a config given in Python."""
    return Path(sweep).absolute().parent if isinstance(sweep, (str, Path)) else None


def secrets_of(sweep: Sweep, workspace: Workspace) -> tuple[str, ...]:
    """Return the secrets to mask in a sweep's output: those of this environment and of the sweep's jobs."""
    return environment_secrets({**workspace.environ, **sweep.job.request.get("Environment", {})})


@dataclass(frozen=True, kw_only=True, slots=True)
class EstimatorJob:
    """What such an object says, in our words."""

    document: dict[str, Any]  # a job.yaml's content: kept with a sweep, it needs neither the object nor the SDK
    program: str  # for a sweep that names none; "" where the object names none either
    command: tuple[str, ...]  # how it is started, likewise
    backend: str  # where it asks to run

    def chosen_backend(self, given: str | None, environ: Mapping[str, str]) -> str:
        return given or environ.get("SMSWEEP_BACKEND") or self.backend


def compile_estimator(estimator: Any, inputs: Any, job: object) -> EstimatorJob | None:
    """Return what the object says, which stays as it is; None for None, and what is compiled already as it is.

    Raises UsageError for a job beside it, or inputs without it; ConfigError for what a sweep cannot run;
    SourceError for a secret in it.
    """
    if estimator is None:
        if inputs is not None:
            raise UsageError("inputs: belong to an estimator; in a job.yaml they are its own key")
        return None
    if job is not None:
        raise UsageError("give an estimator or a job, not both; they say the same things")
    if isinstance(estimator, EstimatorJob):
        return estimator
    compiled = template(estimator, inputs)
    request = dict(compiled.request)
    document: dict[str, Any] = {
        "source_dir": compiled.source_dir,
        "environment": request.pop("Environment", {}),  # under its own key, where names of secrets are refused
        "secrets": dict(compiled.secrets),
        "request": request,
    }
    document = {key: value for key, value in document.items() if value}
    refuse_secrets(scan_text("estimator", to_yaml(document)))
    return EstimatorJob(
        document=document,
        program=compiled.program,
        command=compiled.command,
        backend="sagemaker" if "ResourceConfig" in compiled.request else "docker",
    )
