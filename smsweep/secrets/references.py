"""Secrets of a job that are variables in the environment of the caller."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from smsweep.core.job import JobTemplate, TrainingJobRequest
from smsweep.errors import JobRejected
from smsweep.runtime.job.secrets import ENV, PREFIX


def check_local_secrets(template: JobTemplate, environ: Mapping[str, str]) -> None:
    """Raise JobRejected for a missing variable. Checks jobs on this machine (see backends.table.SETTINGS)."""
    _values(_variables(template.secrets), environ)


def check_remote_secrets(template: JobTemplate) -> None:
    """Raise JobRejected for secrets that jobs on other machines cannot read."""
    for problem in remote_secret_errors(_variables(template.secrets)):
        raise JobRejected(problem)


def remote_secret_errors(variables: Mapping[str, str]) -> Iterator[str]:
    """Yield an error for each secret that is a variable of this machine, for jobs on other machines."""
    for name, variable in variables.items():
        yield (
            f"secret {name}: {variable} is a variable of this machine, which training jobs cannot read; store its "
            "value in Secrets Manager with `smsweep auth`"
        )


def env_references(request: TrainingJobRequest) -> dict[str, str]:
    """Return the variables that the request's secrets refer to, by the secret's name."""
    environment = request.get("Environment", {}).items()
    return _variables({name.removeprefix(PREFIX): value for name, value in environment if name.startswith(PREFIX)})


def secret_values(request: TrainingJobRequest, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the values of these secrets for a job on this machine.

    Secrets in AWS are not included, because the job fetches them. Raises JobRejected for a missing variable.
    """
    return _values(env_references(request), environ)


def _variables(secrets: Mapping[str, str]) -> dict[str, str]:
    return {name: value.removeprefix(ENV) for name, value in secrets.items() if value.startswith(ENV)}


def _values(variables: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    for name, variable in variables.items():
        if not environ.get(variable):
            raise JobRejected(
                f"secret {name}: {variable} is not set on this machine; set it, or change secrets in job.yaml"
            )
    return {name: environ[variable] for name, variable in variables.items()}
