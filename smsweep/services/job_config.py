"""The secrets of a sweep's job config."""

from __future__ import annotations

from smsweep.core.sweep import Sweep
from smsweep.secrets.redact import environment_secrets
from smsweep.services.workspace import Workspace


def secrets_of(sweep: Sweep, workspace: Workspace) -> tuple[str, ...]:
    """Return the secrets to mask in a sweep's output: those of this environment and of the sweep's jobs."""
    return environment_secrets({**workspace.environ, **sweep.job.request.get("Environment", {})})
