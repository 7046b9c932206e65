"""Job configs as a store keeps them."""

from __future__ import annotations

from smsweep.config_files.job_yaml import parse_job
from smsweep.config_files.yaml_reader import read_yaml
from smsweep.core.job import JobTemplate
from smsweep.core.sweep import Sweep
from smsweep.secrets.redact import environment_secrets
from smsweep.services.workspace import Workspace


def load_job_text(text: str) -> JobTemplate:
    """Read a job config that was validated when its sweep was created."""
    return parse_job(text).template if text else JobTemplate()


def secrets_of(sweep: Sweep, workspace: Workspace) -> tuple[str, ...]:
    """Return what must not show of a sweep: secrets of this environment and of its jobs'."""
    job_environ = load_job_text(sweep.job_yaml).request.get("Environment", {})
    return environment_secrets({**workspace.environ, **job_environ})


def repeats_of(sweep: Sweep) -> int:
    """Return how often the sweep was told to try each assignment."""
    if "repeats" not in sweep.job_yaml:
        return 1  # reading the whole file would load botocore
    document = read_yaml(sweep.job_yaml, "job.yaml").data
    return int(document.get("repeats", 1))
