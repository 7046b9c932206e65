"""Secrets that a job is to find in its environment because they are in the caller's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from smsweep.core.job import JobTemplate, TrainingJobRequest
from smsweep.errors import JobRejected
from smsweep.runtime.job.secrets import ENV, PREFIX


def check_here(template: JobTemplate, environ: Mapping[str, str]) -> None:
    """Raise JobRejected if a secret of the template is a variable that `environ` does not have."""
    _values(_variables(template.secrets), environ)


def check_away(template: JobTemplate) -> None:
    """Raises JobRejected for what no job on another machine sees."""
    for problem in unseen(_variables(template.secrets)):
        raise JobRejected(problem)


def unseen(variables: Mapping[str, str]) -> Iterator[str]:
    """Yield what is wrong with secrets that are variables of this machine, for jobs on another."""
    for name, variable in variables.items():
        yield (
            f"secret {name}: {variable} is a variable of this machine, which no training job sees; `smsweep auth` "
            "puts its value into Secrets Manager"
        )


def env_references(request: TrainingJobRequest) -> dict[str, str]:
    """Return each secret that the request refers to by a variable's name, and that name."""
    given = request.get("Environment", {}).items()
    return _variables({name.removeprefix(PREFIX): value for name, value in given if name.startswith(PREFIX)})


def secret_values(request: TrainingJobRequest, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the values of those secrets, to be given to a job on this machine.

    Those kept in AWS are not here: the job fetches them itself. Raises JobRejected for a missing one.
    """
    return _values(env_references(request), environ)


def _variables(secrets: Mapping[str, str]) -> dict[str, str]:
    return {name: value.removeprefix(ENV) for name, value in secrets.items() if value.startswith(ENV)}


def _values(variables: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    for name, variable in variables.items():
        if not environ.get(variable):
            raise JobRejected(f"secret {name}: {variable} is not set here; set it, or change secrets in job.yaml")
    return {name: environ[variable] for name, variable in variables.items()}
