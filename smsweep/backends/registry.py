"""The backends that `--backend` names."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from smsweep.backends.spec import BackendSpec

# Each module has a `SPEC`. It is imported on first use, because boto3 and the Docker SDK are slow to import.
BUILT_IN: Mapping[str, str] = {
    "process": "smsweep.backends.process.backend",
    "docker": "smsweep.backends.docker.backend",
    "sagemaker": "smsweep.backends.sagemaker.backend",
    "batch": "smsweep.backends.aws_batch.backend",
}


def backend_names() -> tuple[str, ...]:
    """Return the names of all backends, without importing them."""
    return tuple(BUILT_IN)


def backend_spec(name: str) -> BackendSpec:
    """Return the description of a backend, and import its module if necessary.

    Raises:
        KeyError: If no backend has this name. `services.backends.backend_name` raises UsageError first.
    """
    spec: BackendSpec = importlib.import_module(BUILT_IN[name]).SPEC
    return spec
