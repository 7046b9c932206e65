"""Read and check what a sweep is created from: its config, its job.yaml, and an object of the SageMaker SDK."""

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
from smsweep.config_files.search_rules import check_search_values, check_structure
from smsweep.config_files.sweep_yaml import ParsedSweep, parse_sweep, read_sweep
from smsweep.core.confirm import check_confirm
from smsweep.core.job import JobTemplate
from smsweep.core.sweep import Sweep, SweepConfig
from smsweep.errors import ConfigError, UsageError
from smsweep.sagemaker_sdk.compiled import template
from smsweep.search.registry import check_search, engine_of
from smsweep.secrets.redact import environment_secrets
from smsweep.secrets.scan import refuse_secrets, scan_text
from smsweep.services.places import check_budgets, check_place_backends
from smsweep.services.sweeps.search_program import has_program, placed
from smsweep.services.workspace import Workspace

log = logging.getLogger(__name__)

SHELL = ("bash", "${program}", "${args}")  # command of shell scripts, as in the SDK

TUNING_JOB = "tuning-job/"  # prefix of a tuning job among prior runs
RUNS_IMAGE = {"entrypoint": "image"}  # in a job.yaml

SweepLike = Mapping[str, Any] | str | Path | Callable[[], Mapping[str, Any]]
JobLike = Mapping[str, Any] | str | Path | None
TunerLike = Mapping[str, Any] | str | Path | Any  # Any: a HyperparameterTuner of the SageMaker SDK


def read(
    sweep: SweepLike,
    job: JobLike,
    *,
    program: str | None = None,
    compiled: EstimatorJob | None = None,
    is_quiet: bool = False,
) -> tuple[ParsedSweep, ParsedJob]:
    """Read both configs of a new sweep, and log their warnings.

    Args:
        sweep: The sweep config.
        job: The job.yaml; ignored if there is an estimator.
        program: Script that runs instead of the config's `program`.
        compiled: The estimator. Its script and command are used if the config has none, or its image's own program
            if the estimator has no script, either.
        is_quiet: Do not log warnings.

    Raises:
        ConfigError: If a config is invalid.
        SourceError: If the program is not in the source.
    """
    parsed = load_sweep(sweep)
    if compiled:
        job = compiled.document_for(parsed.config, program)
        if needs_program(parsed.config):
            program = program or compiled.program
    if program:
        parsed = parse_sweep({**parsed.config.document, "program": program})
    if compiled:
        parsed = with_command(parsed, compiled)
    parsed_job = load_job(job)
    parsed = placed(parsed, parsed_job, origin_of(sweep))
    if not is_quiet:
        warn(parsed.warnings, parsed_job.warnings)
    return replace(parsed, config=check_can_run(parsed.config, parsed_job)), parsed_job


def with_command(parsed: ParsedSweep, compiled: EstimatorJob) -> ParsedSweep:
    """Return a sweep without a command with the estimator's command; return other sweeps unchanged."""
    is_shells = compiled.program.endswith(".sh") and parsed.config.program == compiled.program
    command = compiled.command or (SHELL if is_shells else ())
    if not command or "command" in parsed.config.document:
        return parsed
    return parse_sweep({**parsed.config.document, "command": list(command)})


def needs_program(config: SweepConfig, template: JobTemplate | None = None) -> bool:
    """Return True if the command runs `${program}` and the config names no program.

    Args:
        config: The sweep config.
        template: The job template, which can run the image's own program instead; None if it does not matter.
    """
    runs_image = template is not None and template.runs_image
    return config.program is None and "${program}" in config.command and not runs_image


def load_sweep(sweep: SweepLike) -> ParsedSweep:
    """Parse a sweep config. Raises ConfigError, or UsageError for an object of another type."""
    if callable(sweep):
        sweep = sweep()
    if isinstance(sweep, Mapping):
        return parse_sweep(sweep)
    if not isinstance(sweep, (str, os.PathLike)):
        raise UsageError(f"sweep: expected a dict, a path, or a function that returns a dict, got {sweep!r}")
    return read_sweep(Path(sweep))


def load_job(job: JobLike) -> ParsedJob:
    """Parse a job.yaml; None is an empty one. Raises ConfigError."""
    if not job:
        return ParsedJob(template=JobTemplate(), warnings=(), text="")
    parsed = parse_job(job) if isinstance(job, Mapping) else read_job(Path(job))
    check_place_backends(parsed)
    return parsed


def with_options(
    job: ParsedJob, *, in_place: bool | None = None, gpus_per_trial: float | None = None
) -> ParsedJob:
    """Return a job.yaml with its keys `in_place` and `resources_per_trial.gpus` set; None keeps the value."""
    document = dict(job.template.document)
    if in_place is not None and in_place != job.template.in_place:
        document["in_place"] = in_place
    if gpus_per_trial is not None:
        document["resources_per_trial"] = {**document.get("resources_per_trial", {}), "gpus": gpus_per_trial}
    if document == job.template.document:
        return job
    return replace(parse_job(document), warnings=job.warnings)


def warn(*warnings: Iterable[str]) -> None:
    """Log groups of warnings."""
    for group in warnings:
        for warning in group:
            log.warning("%s", warning)


def check_can_run(config: SweepConfig, job: ParsedJob) -> SweepConfig:
    """Return the config with the conditions and constraints of job.yaml.

    Raises:
        ConfigError: Both configs are valid, but no trial can run. For example, Optuna, MLflow or a price is
            missing, the sweep has a program and the image runs its own, or no params meet the constraints.
    """
    template = job.template
    check_entrypoint(config, template)
    engine = engine_of(config)
    # A search program needs consent before it is checked.
    if engine in ("optuna", "ax") and not has_program(config) and find_spec(engine) is None:
        raise ConfigError(f"scheduler.engine: {engine} is not installed; pip install 'smsweep[{engine}]'")
    check_tracking(template)
    check_confirm(config, template)
    check_search(config, template.search)
    if job.source is not None:
        check_search_values(template.search, config.space, job.source)
    check_budgets(template)
    return check_structure(config, template.search, job.source) if job.source is not None else config


def check_tracking(template: JobTemplate) -> None:
    """Raise ConfigError if the job writes to MLflow and this Python cannot."""
    uri = template.tracking.get("mlflow", "")
    needed = {"mlflow": "mlflow"} | ({"sagemaker_mlflow": "sagemaker-mlflow"} if uri.startswith("arn:") else {})
    missing = [extra for module, extra in needed.items() if find_spec(module) is None] if uri else []
    if missing:
        raise ConfigError(f"tracking.mlflow: MLflow is not installed; pip install 'smsweep[{missing[-1]}]'")


def check_entrypoint(config: SweepConfig, template: JobTemplate) -> None:
    """Raise ConfigError if the sweep has a program or a command, and the job runs the image's own program."""
    for key in ("program", "command"):
        if template.runs_image and key in config.document:
            raise ConfigError(
                f"{key}: cannot be combined with entrypoint: image in job.yaml, which runs the image's own "
                "program; remove one of the two"
            )


def origin_of(sweep: SweepLike) -> Path | None:
    """Return the folder of the sweep's file; None for a config given in Python."""
    return Path(sweep).absolute().parent if isinstance(sweep, (str, Path)) else None


def secrets_of(sweep: Sweep, workspace: Workspace) -> tuple[str, ...]:
    """Return the secrets to mask in a sweep's output: those of this environment and of the sweep's jobs."""
    return environment_secrets({**workspace.environ, **sweep.job.request.get("Environment", {})})


@dataclass(frozen=True, kw_only=True, slots=True)
class EstimatorJob:
    """An Estimator or a ModelTrainer of the SageMaker SDK as a job.yaml, a program and a backend."""

    document: dict[str, Any]  # content of a job.yaml, so that a stored sweep does not need the SDK
    program: str  # for a sweep without a program; "" if the object has no script
    command: tuple[str, ...]  # for a sweep without a command; empty if the object has no launcher
    backend: str  # "docker" for an object in local mode, else "sagemaker"
    texts: Mapping[str, str] | None = None  # hyperparameters of the image's own program; None if it does not run

    def chosen_backend(self, name: str | None, environ: Mapping[str, str]) -> str:
        """Return backend `name`, else `SMSWEEP_BACKEND`, else the backend of the object."""
        return name or environ.get("SMSWEEP_BACKEND") or self.backend

    def document_for(self, config: SweepConfig, program: str | None = None) -> dict[str, Any]:
        """Return the job.yaml for a sweep: that of the image's own program if there is nothing else to run.

        Args:
            config: The sweep config.
            program: Script that runs instead of the config's `program`; None for the config's.
        """
        if self.texts is None or program or not needs_program(config):
            return self.document
        return with_hyperparameters(self.document, self.texts) | RUNS_IMAGE


def compile_estimator(estimator: Any, inputs: Any, job: object) -> EstimatorJob | None:
    """Convert an Estimator or a ModelTrainer of the SageMaker SDK. The object does not change.

    Args:
        estimator: The object; an EstimatorJob, which is returned unchanged; or None.
        inputs: Inputs, as the object's `fit` or `train` accepts them.
        job: The caller's `job` argument, which must be None if there is an estimator.

    Returns:
        The converted object; None without an estimator.

    Raises:
        UsageError: If there is a job and an estimator, or there are inputs without an estimator.
        ConfigError: If a sweep cannot run the object.
        SourceError: If the object contains a secret.
    """
    if estimator is None:
        if inputs is not None:
            raise UsageError("inputs: need an estimator; for a job.yaml, use its key `inputs`")
        return None
    if job is not None:
        raise UsageError("estimator and job cannot be combined, because both describe the jobs; remove one")
    if isinstance(estimator, EstimatorJob):
        return estimator
    compiled = template(estimator, inputs)
    request = dict(compiled.request)
    document: dict[str, Any] = {
        "source_dir": compiled.source_dir,
        "environment": request.pop("Environment", {}),  # a separate key, which rejects the names of secrets
        "secrets": dict(compiled.secrets),
        "request": request,
    }
    document = {key: value for key, value in document.items() if value}
    refuse_secrets(scan_text("estimator", to_yaml(document)))
    has_script = bool(compiled.program or compiled.source_dir or compiled.command)
    return EstimatorJob(
        document=document,
        program=compiled.program,
        command=compiled.command,
        backend="sagemaker" if "ResourceConfig" in compiled.request else "docker",
        texts=None if has_script else compiled.texts,
    )


def with_hyperparameters(document: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """Return the content of a job.yaml with other fixed hyperparameters."""
    others = {name: value for name, value in document.get("request", {}).items() if name != "HyperParameters"}
    request = {**others, **({"HyperParameters": dict(texts)} if texts else {})}
    rest = {name: value for name, value in document.items() if name != "request"}
    return {**rest, **({"request": request} if request else {})}


@dataclass(frozen=True, kw_only=True, slots=True)
class TunerSweep:
    """A tuning job as the arguments of `sweep`."""

    sweep: dict[str, Any]  # content of sweep.yaml, without the program
    job: EstimatorJob  # content of job.yaml, and the program
    max_parallel: int  # MaxParallelTrainingJobs, which is an option of the agent
    seed: int | None = None
    prior_runs: tuple[str, ...] = ()  # the parents of a warm start
    source_uri: str = ""  # s3:// archive with the program; "" if the program is on this machine, or without one


def is_tuning_job(prior: str) -> bool:
    """Return True if a prior run is a tuning job, not the label of a trial or a sweep."""
    return prior.startswith(TUNING_JOB)
