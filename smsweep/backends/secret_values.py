"""Secrets that a job is to find in its environment because they are in the caller's."""

from __future__ import annotations

from collections.abc import Mapping

from smsweep.errors import JobRejected
from smsweep.jobs import TrainingJobRequest
from smsweep.runtime.secrets import PREFIX

ENV = "env:"


def env_references(request: TrainingJobRequest) -> dict[str, str]:
    """Return each secret that the request refers to by a variable's name, and that name."""
    return {
        name.removeprefix(PREFIX): value.removeprefix(ENV)
        for name, value in request.get("Environment", {}).items()
        if name.startswith(PREFIX) and value.startswith(ENV)
    }


def secret_values(request: TrainingJobRequest, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the values of those secrets, to be given to a job on this machine.

    Those kept in AWS are not here: the job fetches them itself. Raises JobRejected for a missing one.
    """
    references = env_references(request)
    for name, variable in references.items():
        if not environ.get(variable):
            raise JobRejected(f"secret {name}: {variable} is not set here; set it, or change secrets in job.yaml")
    return {name: environ[variable] for name, variable in references.items()}
