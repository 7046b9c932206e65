"""An Estimator or a ModelTrainer of the SageMaker SDK in place of a job.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from smsweep.config_files.from_python import to_yaml
from smsweep.errors import UsageError
from smsweep.sagemaker_sdk.compiled import template
from smsweep.secrets.scan import refuse_secrets, scan_text


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
